"""ROME: a rank-one edit of one MLP ("Locating and Editing Factual Associations in GPT", 2022).

Written after the paper and the public implementation kmeng01/rome; the `easyedit` and `rebuilt_*`
modes after zjunlp/EasyEdit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from editors.base import EditRequest, Resources
from editors.parts.checks import check_choice
from editors.parts.covariance import InverseCovariance
from editors.parts.deltas import WeightEditor
from editors.parts.language_model import LanguageModel, block_number
from editors.parts.needs import Needs, Setting
from editors.parts.rank_one import RankOneForm, RankOneUpdate, rank_one_updates
from editors.parts.value_optimisation import ValueHparams, requests_together, value_rows

# `easyedit` is the original form without covariance, as EasyEdit's configurations ship it.
RomeMode = Literal["original", "easyedit", "rebuilt_prefix", "rebuilt_prompt"]

# Relative depth of the edited block where none is named: LLaMA-2-7B's 5 of 32.
DEPTH = 5 / 32


@dataclass(frozen=True, kw_only=True)
class RomeHparams(ValueHparams):
    """Which block is written, and how; the value's defaults are the original's for GPT-J."""

    layer: int | None  # None: at a relative depth of 5/32
    mode: RomeMode = "original"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("mode", self.mode, RomeMode)

    @property
    def uses_covariance(self) -> bool:
        """All modes but EasyEdit's do."""
        return self.mode != "easyedit"

    def covariance_layers(self, n_layers: int) -> tuple[int, ...]:
        """The edited layer, unless the mode does without covariance."""
        if not self.uses_covariance:
            return ()
        return (block_number(self.layer, DEPTH, n_layers),)

    @property
    def form(self) -> RankOneForm:
        """Which keys the rank-one write uses."""
        return "original" if self.mode == "easyedit" else self.mode


class RomeEditor(WeightEditor[RomeHparams]):
    """Writes each fact into one MLP's output projection as a rank-one update, one after another.

    Keys, values and the essence distribution are those of the model as edited so far; covariance
    and templates those of the pristine model. Without templates in the resources, the bare prompt
    is the only context.
    """

    family = "MP"
    label: ClassVar[str] = "ROME"
    table_row = 3
    mark = ("#009E73", "^")
    uses_subject: ClassVar[bool] = True
    hparams_class = RomeHparams
    presets: ClassVar[Mapping[str, RomeHparams]] = {
        # kmeng01/rome hparams/ROME/gpt2-xl.json, EleutherAI_gpt-j-6B.json
        "gpt2-xl": RomeHparams(layer=17),
        "gpt-j-6b": RomeHparams(layer=5),
        # zjunlp/EasyEdit hparams/ROME/llama-7b.yaml
        "llama-2-7b": RomeHparams(layer=5, v_num_grad_steps=25, v_weight_decay=1e-3),
        # Ours: five prefixes, and layer and rate that benchmarks/choose_hparams.py found.
        "mini-llama": RomeHparams(layer=0, v_weight_decay=1e-3, context_lengths=(10,) * 5),
        "mini-gptj": RomeHparams(layer=3, context_lengths=(10,) * 5),
        "mini-gpt2": RomeHparams(layer=0, v_lr=1.0, context_lengths=(10,) * 5),
        "default": RomeHparams(layer=None, context_lengths=(10,) * 5),
    }

    @classmethod
    def needs(cls, hparams: RomeHparams, on: Setting) -> Needs:
        """The inverse covariance [m, m], inverted in float64, and one edited projection."""
        square = on.shape.inner**2 if hparams.uses_covariance else 0
        layer = block_number(hparams.layer, DEPTH, on.shape.layers)
        edit = on.backward(value_rows(hparams, on), layer) + 8.0 * on.shape.matrix
        return Needs(
            held=4.0 * square + on.copies(on.shape.matrix), working=max(edit, 3 * 8.0 * square)
        )

    def __init__(self, lm: LanguageModel, hparams: RomeHparams, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        self.layer = block_number(hparams.layer, DEPTH, lm.n_layers)
        self._inverse: InverseCovariance | None = None
        if hparams.uses_covariance:
            if resources.covariance is None:
                raise ValueError(
                    "ROME needs the covariance of its layer's keys in its resources; "
                    "provide it, or choose the mode 'easyedit', which does without."
                )
            self._inverse = InverseCovariance(resources.covariance)

    @property
    def together(self) -> int:
        """See the base class."""
        return requests_together(self.resources.templates)

    def compute(self, requests: Sequence[EditRequest]) -> list[RankOneUpdate]:
        """The update for each request on the model as it is now; nothing is written."""
        weight = self.lm.module(self.lm.architecture.mlp_out, self.layer).get_parameter("weight")
        inverse = None if self._inverse is None else self._inverse(self.layer, weight)
        return rank_one_updates(
            self.lm,
            requests,
            self.resources.templates,
            layer=self.layer,
            settings=self.hparams.value_settings(self.resources.stopping),
            form=self.hparams.form,
            inverse_covariance=inverse,
        )

    def prepare(self, requests: Sequence[EditRequest]) -> list[Callable[[], None]]:
        """See the base class; values are optimised together."""
        return [partial(self._write, update) for update in self.compute(requests)]

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Write the requests one after another."""
        for request in requests:
            self._write(*self.compute([request]))

    def _write(self, update: RankOneUpdate) -> None:
        self._weights.add([update.delta(self.lm)])

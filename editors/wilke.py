"""WILKE: ROME in the layer where the fact fits best ("WilKE", Hu et al., 2024).

Written after the public implementation ChenhuiHu/WilKE. Its authors undo each edit once it was
evaluated, by an edit back to the former answer; in lifelong editing all edits stay, so `keep` is
the default and `rollback` a named mode.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from editors.base import EditRequest, Resources
from editors.parts.checks import check_at_least, check_choice
from editors.parts.covariance import InverseCovariance
from editors.parts.deltas import WeightEditor
from editors.parts.generation import Stop, greedy
from editors.parts.language_model import LanguageModel, block_number
from editors.parts.needs import Needs, Setting
from editors.parts.target_value import TargetRows, ValueHparams, unedited_pass, value_rows
from editors.parts.tokens import batch_of, pack_texts, target_ids, text_of, unpack_texts
from editors.rome import RankOneUpdate, rank_one_updates

# `rollback`: before a request is written, the one before it is edited back, in the layer it was
# written to, to what the model answered before it.
WilkeMode = Literal["keep", "rollback"]

# Names in a state that are no parameters of the model.
_LAYER, _TEXTS = "rollback_layer", "rollback_texts"

# Share of the blocks that are scanned where no ceiling is named: the original's 7 of GPT-J's 28.
SCANNED = 1 / 4
LEAST = 2  # ours: with one candidate there is nothing to choose


@dataclass(frozen=True, kw_only=True)
class WilkeHparams(ValueHparams):
    """ROME's hyper-parameters without its layer; the value's defaults are the original's."""

    # Blocks 0 to ceiling - 1 are candidates; None: a quarter of them. Late blocks no longer reach
    # the answer from the subject: their updates are tiny, would win, and do nothing.
    scanning_ceiling: int | None
    mode: WilkeMode = "keep"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("mode", self.mode, WilkeMode)
        if self.scanning_ceiling is not None:
            check_at_least("scanning_ceiling", self.scanning_ceiling, 1)

    def covariance_layers(self, n_layers: int) -> tuple[int, ...]:
        """All candidate layers.

        Raises:
            ValueError: the model has not as many.
        """
        ceiling = self.scanning_ceiling
        if ceiling is None:
            ceiling = min(max(LEAST, int(SCANNED * n_layers)), n_layers)
        return tuple(block_number(layer, 0, n_layers) for layer in range(ceiling))


# Ours: half of a miniature model's blocks, and the decay that ROME has there.
MINIATURE = WilkeHparams(scanning_ceiling=2, v_weight_decay=1e-3, context_lengths=(10,) * 5)


@dataclass(frozen=True)
class Candidate:
    """A ROME update of one layer, and its size: ||dW|| / ||W|| (Frobenius norms)."""

    update: RankOneUpdate
    score: float

    @property
    def rank(self) -> float:
        """The score; last place where the optimisation gave no number."""
        return math.inf if math.isnan(self.score) else self.score


class WilkeEditor(WeightEditor[WilkeHparams]):
    """Computes the ROME update of every candidate layer and writes the relatively smallest one.

    Keys, values and scores are those of the model as edited so far; covariances and templates those
    of the pristine model. The original computes the winner's update a second time; it is the same.
    """

    family = "MP"
    label = "WILKE"
    table_row = 6
    mark = ("#56B4E9", "P")
    uses_subject = True
    hparams_class = WilkeHparams
    presets: ClassVar[Mapping[str, WilkeHparams]] = {
        # ChenhuiHu/WilKE hparams/WilKE/{gpt2-xl,EleutherAI_gpt-j-6B}.json
        "gpt2-xl": WilkeHparams(scanning_ceiling=24),
        "gpt-j-6b": WilkeHparams(scanning_ceiling=7),
        # Ours, none is published: GPT-J's ratio, and the values of EasyEdit's ROME/llama-7b.yaml.
        "llama-2-7b": WilkeHparams(scanning_ceiling=8, v_num_grad_steps=25, v_weight_decay=1e-3),
        **dict.fromkeys(("mini-llama", "mini-gpt2"), MINIATURE),
        "mini-gptj": replace(MINIATURE, scanning_ceiling=4),
        # The default, among 30 blocks.
        "smollm2-135m": WilkeHparams(scanning_ceiling=7, context_lengths=(10,) * 5),
        "default": WilkeHparams(scanning_ceiling=None, context_lengths=(10,) * 5),
    }

    def __init__(self, lm: LanguageModel, hparams: WilkeHparams, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        if resources.covariance is None:
            raise ValueError("WILKE needs the covariances of its layers' keys in its resources.")
        self.layers = hparams.covariance_layers(lm.n_layers)
        self._inverse = InverseCovariance(resources.covariance)
        # The last edit, as `rollback` undoes it: to the model's former answer, in its layer.
        self._last: tuple[EditRequest, int] | None = None

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Write the requests one after another."""
        for request in requests:
            self._roll_back()
            answer = self._answer(request) if self.hparams.mode == "rollback" else ""
            best = min(self.scan(request), key=lambda candidate: candidate.rank)
            self._weights.add([best.update.delta(self.lm)])
            if answer:
                former = EditRequest(prompt=request.prompt, target=answer, subject=request.subject)
                self._last = former, best.update.layer

    def scan(self, request: EditRequest) -> tuple[Candidate, ...]:
        """The candidate of every layer on the model as it is now; nothing is written."""
        return tuple(map(self._candidate, self._updates(request, self.layers)))

    def _candidate(self, update: RankOneUpdate) -> Candidate:
        change, weight = update.delta(self.lm).value, self._weight(update.layer)
        return Candidate(update, float(change.norm() / weight.to(change).norm()))

    def _updates(self, request: EditRequest, layers: Sequence[int]) -> Iterator[RankOneUpdate]:
        """ROME's update of each layer on the model as it is now, all from one forward."""
        rows = TargetRows.of(self.lm, [request], self.resources.templates)
        unedited = unedited_pass(self.lm, rows, layers)
        for layer in layers:
            yield from rank_one_updates(
                self.lm,
                rows,
                unedited,
                self.hparams,
                layer=layer,
                inverse_covariance=self._inverse(layer, self._weight(layer)),
                stopping=self.resources.stopping,
            )

    def _weight(self, layer: int) -> Tensor:
        return self.lm.module(self.lm.architecture.mlp_out, layer).get_parameter("weight")

    def _roll_back(self) -> None:
        if self._last is None:
            return
        former, layer = self._last
        (update,) = self._updates(former, [layer])
        self._weights.add([update.delta(self.lm)])
        self._last = None

    def _answer(self, request: EditRequest) -> str:
        """The model's answer before the edit, as long as the target; requests name no truth."""
        batch = batch_of(self.lm.tokenizer, [(request.prompt, "")], device=self.lm.device)
        length = len(target_ids(self.lm.tokenizer, request.target, request.prompt))
        ids = greedy(self.lm, batch, max_new_tokens=length, stop=Stop())[0]
        return text_of(self.lm.tokenizer, ids).strip()

    def reset(self) -> None:
        super().reset()
        self._last = None

    def state_dict(self) -> dict[str, Tensor]:
        """The edited projections, as they stand, and what the next edit would roll back."""
        weights = super().state_dict()
        if self._last is None:
            return weights
        request, layer = self._last
        texts = pack_texts([request.prompt, request.target, request.subject], _TEXTS)
        return weights | texts | {_LAYER: torch.tensor(layer)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        weights = {name: value for name, value in state.items() if not name.startswith("rollback_")}
        super().load_state_dict(weights)
        self._last = None
        if _LAYER in state:
            prompt, target, subject = unpack_texts(state, _TEXTS)
            request = EditRequest(prompt=prompt, target=target, subject=subject)
            self._last = request, int(state[_LAYER])

    @classmethod
    def needs(cls, hparams: WilkeHparams, on: Setting) -> Needs:
        """For each candidate layer an inverse covariance and, once it was chosen, a copy."""
        shape, layers = on.shape, hparams.covariance_layers(on.shape.layers)
        edit = on.backward(value_rows(hparams, on, together=False), layers[0])
        return Needs(
            held=len(layers) * (4.0 * shape.inner**2 + on.copies(shape.matrix)),
            working=max(edit + 8.0 * shape.matrix, 3 * 8.0 * shape.inner**2),
        )

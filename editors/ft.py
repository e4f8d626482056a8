"""FT: fine-tuning one MLP output projection on each edit.

The baseline of Zhu et al. ("Modifying Memories in Transformer Models") as the ROME paper and
zjunlp/EasyEdit run it: `prompt_last` is EasyEdit's default objective (its FT-L), `target_new` its
FT-M; with a norm constraint it is the original FT+L of kmeng01/rome.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from editors.base import EditRequest, Hparams, Resources
from editors.parts.checks import check_above, check_at_least, check_fields
from editors.parts.deltas import WeightDelta, WeightEditor, thawed
from editors.parts.fast_paths import Stopping, enough
from editors.parts.language_model import LanguageModel, block_number, parameter_names
from editors.parts.needs import Needs, Setting
from editors.parts.suffixes import Suffixes
from editors.parts.tokens import TokenBatch, placed, prompt_ids, target_ids

# `prompt_last`: every target token is trained as the token right after the prompt; `target_new`:
# the target is trained token by token. `bos_label` is `prompt_last` with EasyEdit's defect that the
# special tokens which the tokenizer puts in front of a text (LLaMA's BOS) are labels too.
FtObjective = Literal["prompt_last", "target_new", "bos_label"]

# A step is skipped, and after a whole pass the edit ends, below this loss (original).
ENOUGH = 1e-2
# Relative depth of the edited block where none is named: EasyEdit's 21 of LLaMA-2-7B's 32.
DEPTH = 21 / 32


@dataclass(frozen=True, kw_only=True)
class FtHparams(Hparams):
    """Defaults are EasyEdit's for LLaMA-2-7B."""

    layer: int | None  # None: at a relative depth of 21/32
    objective: FtObjective = "prompt_last"
    num_steps: int = 25  # passes over the requests of one `edit` call
    lr: float = 5e-4  # of Adam
    weight_decay: float = 0.0  # L2 in the gradient
    norm_constraint: float | None = None  # largest change of any entry in one call; None: free
    batch_size: int = 1  # requests in one step

    def __post_init__(self) -> None:
        check_fields(self, FtHparams)
        check_above("lr", self.lr, 0)
        check_at_least("weight_decay", self.weight_decay, 0)
        if self.norm_constraint is not None:
            check_above("norm_constraint", self.norm_constraint, 0)

    @property
    def stops_early(self) -> bool:
        return True


@dataclass(frozen=True)
class Lesson:
    """The rows of one step, P positions in them, and N labels to learn at these."""

    batch: TokenBatch
    rows: Tensor  # [P]
    columns: Tensor  # [P]
    places: Tensor  # [N], which of the positions a label belongs to
    labels: Tensor  # [N]
    weights: Tensor  # [N]; 1 / (labels of the row x rows), so that rows count alike

    @classmethod
    def of(cls, batch: TokenBatch, objective: FtObjective) -> Lesson:
        """From a batch with targets in its rows for `target_new`, else from one of prompts.

        In both cases `batch.target_ids` are the labels; only where they are predicted differs.
        """
        rows, columns = batch.scored_positions
        weights = 1 / (batch.target_counts[rows] * len(batch)).double()
        places = torch.arange(len(rows), device=rows.device)
        if objective != "target_new":  # one position of each row has all of its labels
            places, columns = rows, placed(batch.prompt_lengths, rows.device) - 1
            rows = torch.arange(len(batch), device=rows.device)
        return cls(batch, rows, columns, places, batch.labels, weights)

    def loss(self, lm: LanguageModel, states: Tensor) -> Tensor:
        """Mean over rows of the mean negative log-likelihood of a row's labels.

        `states` [B, T, d] are the batch's final ones.
        """
        logits = lm.head(states[self.rows, self.columns])  # [P, V]
        losses = -functional.log_softmax(logits, dim=-1)[self.places, self.labels]  # [N]
        return (losses * self.weights.to(losses.dtype)).sum()


@dataclass(frozen=True)
class FineTuned:
    """Changes of the trained parameters, and the loss of every forward in order."""

    deltas: tuple[WeightDelta, ...]
    losses: tuple[float, ...]


@torch.enable_grad()
def fine_tune(
    lm: LanguageModel,
    lessons: Sequence[Lesson],
    layer: int,
    hparams: FtHparams,
    stopping: Stopping = "by_loss",
) -> FineTuned:
    """Train a block's output projection with a fresh Adam; the model is restored afterwards.

    A step below a loss of `ENOUGH` is skipped, and a pass below it is the last. After each step
    every entry is clamped to its value before the call +- the constraint.
    """
    losses: list[float] = []
    end = enough(ENOUGH, stopping)
    names = parameter_names(lm, lm.architecture.mlp_out.format(layer))
    rows = [Suffixes(lm, lesson.batch, [0] * len(lesson.batch), [layer]) for lesson in lessons]
    with thawed(lm.model, names) as parameters:
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        adam = torch.optim.Adam(
            parameters.values(), lr=hparams.lr, weight_decay=hparams.weight_decay
        )
        for _ in range(hparams.num_steps):
            for lesson, suffixes in zip(lessons, rows, strict=True):
                loss = lesson.loss(lm, suffixes.final(suffixes.entering[layer], layer))
                losses.append(loss.item())
                if losses[-1] >= end:
                    adam.zero_grad()
                    loss.backward()
                    adam.step()
                _constrain(parameters, before, hparams.norm_constraint)
            if sum(losses[-len(lessons) :]) / len(lessons) < end:
                break
        deltas = tuple(
            WeightDelta(name, parameter.detach() - before[name])
            for name, parameter in parameters.items()
        )
    return FineTuned(deltas, tuple(losses))


@torch.no_grad()
def _constrain(
    parameters: Mapping[str, Tensor], centres: Mapping[str, Tensor], radius: float | None
) -> None:
    """Clamp every entry to its centre +- radius; after a skipped step too, as the original."""
    if radius is None:
        return
    for name, parameter in parameters.items():
        parameter.clamp_(min=centres[name] - radius, max=centres[name] + radius)


class FtEditor(WeightEditor[FtHparams]):
    """Fine-tunes on each call's requests, starting from the weights that earlier calls left.

    The norm constraint is centred on the present weights at each call, as in the originals, so over
    a stream the weights may drift by the number of edits times the constraint.
    """

    family = "MP"
    label = "FT"
    table_row = 1
    mark = ("#0072B2", "o")
    edits_batches = True
    aliases = ("fine-tuning",)
    spans_devices = True
    hparams_class = FtHparams
    # EasyEdit tokenises targets with special tokens; GPT-2's and GPT-J's tokenizers add none.
    as_in_paper: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {"objective": "bos_label"}}
    presets: ClassVar[Mapping[str, FtHparams]] = {
        # zjunlp/EasyEdit hparams/FT/{gpt2-xl,gpt-j-6B,llama-7b}.yaml
        "gpt2-xl": FtHparams(layer=0, norm_constraint=5e-4),
        "gpt-j-6b": FtHparams(layer=21),
        "llama-2-7b": FtHparams(layer=21),
        # kmeng01/rome hparams/FT/{gpt2-xl_constr,EleutherAI_gpt-j-6B_constr}.json: FT+L
        "gpt2-xl/ft-l": FtHparams(layer=0, norm_constraint=5e-4),
        "gpt-j-6b/ft-l": FtHparams(layer=0, norm_constraint=5e-5),
        # Ours: layer and rate that benchmarks/choose_hparams.py found on training edits.
        "mini-llama": FtHparams(layer=3, lr=1e-3),
        "mini-gptj": FtHparams(layer=7, lr=1e-3),
        "mini-gpt2": FtHparams(layer=3, lr=2e-4),
        "smollm2-135m": FtHparams(layer=19),  # the default, among 30 blocks
        "default": FtHparams(layer=None),
    }

    def __init__(self, lm: LanguageModel, hparams: FtHparams, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        self.layer = block_number(hparams.layer, DEPTH, lm.n_layers)

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Fine-tune on all requests together, `batch_size` of them in a step."""
        if requests:
            self.edit_lessons([*self._lessons(requests)])

    def edit_lessons(self, lessons: Sequence[Lesson]) -> FineTuned:
        """Fine-tune on tokenised rows and write the result."""
        tuned = fine_tune(self.lm, lessons, self.layer, self.hparams, self.resources.stopping)
        self._weights.add(tuned.deltas)
        return tuned

    def _lessons(self, requests: Sequence[EditRequest]) -> Iterator[Lesson]:
        size = self.hparams.batch_size
        for start in range(0, len(requests), size):
            yield Lesson.of(self._batch(requests[start : start + size]), self.hparams.objective)

    def _batch(self, requests: Sequence[EditRequest]) -> TokenBatch:
        tokenizer = self.lm.tokenizer
        targets = [target_ids(tokenizer, r.target, r.prompt) for r in requests]
        if self.hparams.objective == "bos_label":
            leading = self.lm.special.front
            targets = [[*leading, *target] for target in targets]
        texts = [request.prompt for request in requests]
        prompts = [prompt_ids(tokenizer, text) for text in texts]
        return self.lm.batch_of_pairs([*zip(prompts, targets, strict=True)], texts)

    @classmethod
    def needs(cls, hparams: FtHparams, on: Setting) -> Needs:
        """Two copies from before, gradient, Adam's two moments and the delta of one projection."""
        layer = block_number(hparams.layer, DEPTH, on.shape.layers)
        return Needs(
            held=on.copies(on.shape.matrix),
            working=6 * 4 * on.shape.matrix + on.backward(hparams.batch_size, layer),
        )

"""The target value of ROME-like editors: the output of one layer that makes a model answer a fact.

    L(delta) = 1/R sum_j -log P[target | context_j + prompt]                     (ROME, eq. 4)
             + kl_factor KL(P[. | "subject is a"] || unedited P[. | "subject is a"])
             + v_weight_decay ||delta|| / ||v||^2

is minimised by Adam over delta, which is added to a layer's output v at the subject's last token;
the target value is v* = v + delta. ROME, WILKE and R-ROME steer an MLP; MEMIT and AlphaEdit steer a
whole block and call the target z (MEMIT, eq. 16). Several requests share forwards and nothing else.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from editors.base import EditRequest, Hparams
from editors.parts.checks import check_above, check_at_least
from editors.parts.fast_paths import Stopping, enough
from editors.parts.hooks import captured_input, captured_output
from editors.parts.language_model import LanguageModel
from editors.parts.needs import Setting
from editors.parts.suffixes import Suffixes
from editors.parts.tokens import (
    TokenBatch,
    occurrences,
    placed,
    prompt_ids,
    subject_last,
    target_ids,
)

# The prompt whose prediction must not drift, so that the subject stays what it is (ROME, eq. 4).
ESSENCE = "{} is a"
Steered = Literal["mlp", "block"]
# The loop ends early below this total loss (original implementation).
ENOUGH = 0.05
ROWS = 64  # of requests that share forwards; ours

BARE = "{}"  # the context template without a context
# Words that start a context, and the sampling cut, of the MEMIT and EasyEdit implementations.
STARTERS = ("The", "Therefore", "Because", "I", "You")
TOP_K = 5
# Ours: fixed, because templates are part of a backbone's statistics and no seed varies them.
TEMPLATE_SEED = 0


@dataclass(frozen=True, kw_only=True)
class ValueHparams(Hparams):
    """Settings of the optimisation; names and defaults of the original ROME for GPT-J."""

    v_num_grad_steps: int = 20  # N gives N - 1 updates: the last loss is never back-propagated
    v_lr: float = 0.5  # of Adam
    v_weight_decay: float = 0.5
    clamp_norm_factor: float = 4.0  # delta stays within this multiple of the unedited value's norm
    kl_factor: float = 0.0625
    context_lengths: tuple[int, ...] = (5,) * 10 + (10,) * 10  # tokens of each random prefix

    def __post_init__(self) -> None:
        check_at_least("v_num_grad_steps", self.v_num_grad_steps, 2)
        check_above("v_lr", self.v_lr, 0)
        check_at_least("v_weight_decay", self.v_weight_decay, 0)
        check_above("clamp_norm_factor", self.clamp_norm_factor, 0)
        check_at_least("kl_factor", self.kl_factor, 0)

    @property
    def template_lengths(self) -> tuple[int, ...]:
        return self.context_lengths

    @property
    def stops_early(self) -> bool:
        return True


@dataclass(frozen=True)
class TargetRows:
    """K requests as rows, each: R rewrite rows (context, prompt, target but its last), essence.

    The rows are right-padded; a request's first has the bare context; `batch.target_ids` is empty
    for its essence row, which is its last.
    """

    batch: TokenBatch  # [K (R + 1), T]
    lookups: Tensor  # [K (R + 1)], index of the subject's last token in each row
    requests: int  # K

    @classmethod
    def of(
        cls, lm: LanguageModel, requests: Sequence[EditRequest], templates: Sequence[str]
    ) -> TargetRows:
        """Rows of each request under each context template, and its essence row."""
        rows = [row for request in requests for row in _rows_of(lm, request, templates)]
        texts, targets, lookups = zip(*rows, strict=True)
        prompts = [prompt_ids(lm.tokenizer, text) for text in texts]
        batch = lm.batch_of_pairs([*zip(prompts, targets, strict=True)], texts)
        return cls(batch, placed(lookups, lm.device), len(requests))

    @property
    def each(self) -> int:
        """R + 1."""
        return len(self.batch) // self.requests

    @property
    def numbers(self) -> Tensor:
        """Row numbers [K (R + 1)], to index beside `lookups`."""
        return torch.arange(len(self.batch), device=self.lookups.device)

    def at_subjects(self, states: Tensor) -> Tensor:
        """States [K (R + 1), T, d] at the lookups: [K, R + 1, d]."""
        rows = states[self.numbers, self.lookups]
        return rows.view(self.requests, self.each, *rows.shape[1:])


def _rows_of(
    lm: LanguageModel, request: EditRequest, templates: Sequence[str]
) -> Iterator[tuple[str, list[int], int]]:
    """(text, target ids, lookup) of each row; the essence row has no target."""
    tokenizer, subject = lm.tokenizer, request.subject
    target = target_ids(tokenizer, request.target, request.prompt)
    for template in templates:
        text = template.replace("{}", request.prompt, 1)
        lookup = subject_last(tokenizer, request.prompt, subject, template=template)
        yield text, target, lookup
    text = ESSENCE.format(subject)
    yield text, [], subject_last(tokenizer, text, subject)


@dataclass(frozen=True)
class UneditedPass:
    """What one forward of the rows shows of the model as it is; several layers share it."""

    suffixes: Suffixes  # of the rows, from their lookups on
    outputs: Mapping[int, Tensor]  # layer -> [K, R + 1, d], of the steered module at the lookups
    keys: Mapping[int, Tensor]  # layer -> [K, R + 1, m], input of the MLP's output projection there


def unedited_pass(
    lm: LanguageModel, rows: TargetRows, layers: Sequence[int], steered: Steered = "mlp"
) -> UneditedPass:
    """One forward of the rows, from which the optimisations at any of `layers` start."""
    path = lm.architecture.mlp if steered == "mlp" else lm.architecture.block
    with ExitStack() as stack:
        outputs = {n: stack.enter_context(captured_output(lm.module(path, n))) for n in layers}
        mlp_out = {n: lm.module(lm.architecture.mlp_out, n) for n in layers}
        keys = {n: stack.enter_context(captured_input(mlp_out[n])) for n in layers}
        above = {n + 1 for n in layers}
        suffixes = Suffixes(lm, rows.batch, rows.lookups.tolist(), above)
    return UneditedPass(
        suffixes,
        {n: rows.at_subjects(captured.value) for n, captured in outputs.items()},
        {n: rows.at_subjects(captured.value) for n, captured in keys.items()},
    )


@dataclass(frozen=True)
class ValueStep:
    """One Adam update: the loss and gradient it came from, and delta before the norm clamp."""

    loss: float
    gradient: Tensor  # [d]
    unclamped: Tensor  # [d]


@dataclass(frozen=True)
class TargetValue:
    """The result of one optimisation."""

    delta: Tensor  # [d]
    outputs: Tensor  # [R, d], unedited outputs of the steered module at the rewrite rows' lookups
    steps: tuple[ValueStep, ...]

    @property
    def value(self) -> Tensor:
        """v* [d]: what the bare prompt's output must become."""
        return self.outputs[0] + self.delta


@torch.enable_grad()
def optimise_targets(
    lm: LanguageModel,
    rows: TargetRows,
    hparams: ValueHparams,
    *,
    layer: int,
    unedited: UneditedPass,
    stopping: Stopping = "by_loss",
) -> list[TargetValue]:
    """The target value of each request at a layer.

    `unedited` comes from `unedited_pass`, which knows whose output is steered: that of the layer's
    MLP or of the whole block. In both cases delta is part of what leaves the block, so that each
    step starts there, and at the lookups. Each request has its own loss, its own steps of Adam and
    its own end. The norm clamp follows each step and leaves Adam's moments alone.
    """
    dtype = torch.float64 if lm.dtype == torch.float64 else torch.float32
    outputs = unedited.outputs[layer].to(dtype)  # [K, R + 1, d]
    sizes = outputs[:, 0].norm(dim=-1)  # [K], ||v||
    deltas = torch.zeros_like(outputs[:, 0], requires_grad=True)  # [K, d]
    adam = torch.optim.Adam([deltas], lr=hparams.v_lr)
    loss = _Loss(lm, rows, hparams, unedited.suffixes, layer + 1, sizes)
    steps: list[list[ValueStep]] = [[] for _ in range(rows.requests)]
    going, limit = [True] * rows.requests, enough(ENOUGH, stopping)
    for _ in range(hparams.v_num_grad_steps - 1):
        losses = loss(deltas)  # [K]
        values = losses.tolist()
        going = [on and not value < limit for on, value in zip(going, values, strict=True)]
        if not any(going):
            break
        adam.zero_grad()
        losses.sum().backward()
        ended = [number for number, on in enumerate(going) if not on]
        former = deltas.detach().clone()
        adam.step()
        gradients = torch.zeros_like(deltas) if deltas.grad is None else deltas.grad.clone()
        unclamped = deltas.detach().clone()
        _clamp(deltas, hparams.clamp_norm_factor * sizes)
        if ended:
            deltas.detach()[ended] = former[ended]
        for number in (number for number, on in enumerate(going) if on):
            steps[number].append(ValueStep(values[number], gradients[number], unclamped[number]))
    return [
        TargetValue(delta, rewrites, tuple(taken))
        for delta, rewrites, taken in zip(deltas.detach(), outputs[:, :-1], steps, strict=True)
    ]


class _Loss:
    """L [K] of each request, by deltas [K, d]; the first call sees the unedited model."""

    def __init__(
        self,
        lm: LanguageModel,
        rows: TargetRows,
        hparams: ValueHparams,
        suffixes: Suffixes,
        entered: int,  # the block that the steered output enters
        sizes: Tensor,
    ) -> None:
        self._lm, self._hparams, self._sizes = lm, hparams, sizes
        self._suffixes, self._entered, self._each = suffixes, entered, rows.each
        self._labels = rows.batch.labels  # [N]
        self._rows, columns = rows.batch.scored_positions
        self._columns = columns - rows.lookups[self._rows]
        self._owners = self._rows // self._each
        self._counts = occurrences(self._owners, rows.requests)
        self._essence = rows.numbers[self._each - 1 :: self._each]
        self._unedited: Tensor | None = None

    def __call__(self, deltas: Tensor) -> Tensor:
        leaving = self._suffixes.entering[self._entered]  # [K (R + 1), S, d]
        change = deltas.to(leaving).repeat_interleave(self._each, dim=0)[:, None]
        changed = torch.cat([leaving[:, :1] + change, leaving[:, 1:]], dim=1)
        final = self._suffixes.final(changed, self._entered)
        scored = [final[self._rows, self._columns], final[self._essence, 0]]
        logits = self._lm.head(torch.cat(scored)).to(deltas.dtype)  # [N + K, V]
        tokens = functional.cross_entropy(
            logits[: len(self._labels)], self._labels, reduction="none"
        )
        essence = functional.log_softmax(logits[len(self._labels) :], dim=-1)  # [K, V]
        if self._unedited is None:
            self._unedited = essence.detach()
        target = torch.zeros_like(self._sizes).index_add(0, self._owners, tokens) / self._counts
        drift = (essence.exp() * (essence - self._unedited)).sum(dim=-1)  # KL(now || unedited)
        decay = deltas.norm(dim=-1) / self._sizes**2  # first power over square, as the original
        hparams = self._hparams
        loss: Tensor = target + hparams.kl_factor * drift + hparams.v_weight_decay * decay
        return loss


@torch.no_grad()
def _clamp(deltas: Tensor, limits: Tensor) -> None:
    deltas.mul_((limits / deltas.norm(dim=-1)).clamp(max=1.0)[:, None])


def requests_at_once(templates: Sequence[str]) -> int:
    """How many requests share forwards: backward passes store what every row computes."""
    return max(1, ROWS // (len(templates) + 1))


def value_rows(hparams: ValueHparams, on: Setting, *, together: bool = True) -> int:
    """Rows of one optimisation: each context template, the bare prompt, and the essence.

    `together` counts those of all single edits that share forwards.
    """
    rows = len(hparams.context_lengths) + 2
    return rows * max(1, ROWS // rows) if on.singles and together else rows


# ---- context templates -----------------------------------------------------------------------


def generate_templates(
    lm: LanguageModel, lengths: Sequence[int], *, seed: int = TEMPLATE_SEED
) -> tuple[str, ...]:
    """The bare template and one prefixed template `"<prefix>. {}"` for each of `lengths`.

    The prefixes are random texts of the pristine model, so that an edit does not depend on the bare
    prompt alone. A length counts all tokens of a prefix, its starter and BOS too, as in the
    original implementations. Only a local generator is drawn from.
    """
    generator = torch.Generator().manual_seed(seed)
    prefixes = [
        _prefix(lm, STARTERS[i % len(STARTERS)], length, generator)
        for i, length in enumerate(lengths)
    ]
    return (BARE, *(f"{prefix}. {BARE}" for prefix in prefixes))


@torch.no_grad()
def _prefix(lm: LanguageModel, starter: str, length: int, generator: torch.Generator) -> str:
    ids = prompt_ids(lm.tokenizer, starter)
    while len(ids) < length:
        tokens = torch.tensor([ids], device=lm.device)
        hidden = lm.base(input_ids=tokens, use_cache=False).last_hidden_state
        ids.append(_sample(lm.head(hidden[0, -1]), generator))
    return _clean(str(lm.tokenizer.decode(ids, skip_special_tokens=True)))


def _sample(logits: Tensor, generator: torch.Generator) -> int:
    best = torch.topk(logits.float().cpu(), min(TOP_K, logits.shape[-1]))
    choice = torch.multinomial(torch.softmax(best.values, dim=-1), 1, generator=generator)
    return int(best.indices[choice])


def _clean(text: str) -> str:
    """A single line without braces, which would be read as places for the prompt."""
    plain = unicodedata.normalize("NFKD", text).replace("{", " ").replace("}", " ")
    return " ".join(plain.split())

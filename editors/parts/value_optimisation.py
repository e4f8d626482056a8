"""The value that makes a fact true: ROME's optimisation of one vector (ROME, section 3.1, step 2).

MEMIT, WILKE and retrieval variants of ROME use the same rows, loss and loop; they differ in the
module whose output is steered (an MLP for ROME, a whole block for MEMIT) and in what they write.
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
from editors.parts.hooks import captured_input, captured_output
from editors.parts.language_model import LanguageModel
from editors.parts.needs import Setting
from editors.parts.stopping import Stopping, enough
from editors.parts.suffixes import Suffixes
from editors.parts.tokens import (
    TokenBatch,
    batch_of_ids,
    occurrences,
    pad_id,
    placed,
    prompt_ids,
    subject_last,
    target_ids,
)

# The prompt whose prediction must not drift, so that the subject stays what it is (ROME, eq. 4).
ESSENCE = "{} is a"
Steered = Literal["mlp", "block"]

# Rows of one problem, where requests share one. Ours.
ROWS = 64

# The loop ends early below this total loss (original implementation).
ENOUGH = 0.05


@dataclass(frozen=True, kw_only=True)
class ValueSettings:
    """Settings of the optimisation, named as in the original implementations."""

    v_num_grad_steps: int  # N gives N - 1 updates: the last loss is never back-propagated
    v_lr: float  # of Adam
    v_weight_decay: float
    clamp_norm_factor: float  # delta stays within this multiple of the unedited value's norm
    kl_factor: float
    stopping: Stopping = "by_loss"


@dataclass(frozen=True)
class ValueProblem:
    """K requests as rows, each: R rewrite rows (context, prompt, target but its last), essence.

    The rows are right-padded; a request's first has the bare context; `batch.target_ids` is empty
    for its essence row, which is its last.
    """

    batch: TokenBatch  # [K (R + 1), T]
    lookups: Tensor  # [K (R + 1)], index of the subject's last token in each row
    requests: int  # K

    @property
    def rows(self) -> Tensor:
        """Row numbers [K (R + 1)], to index beside `lookups`."""
        return torch.arange(len(self.batch), device=self.lookups.device)

    @property
    def rows_each(self) -> int:
        """R + 1."""
        return len(self.batch) // self.requests

    def by_request(self, rows: Tensor) -> Tensor:
        """What belongs to rows [K (R + 1), ...] as [K, R + 1, ...]."""
        return rows.view(self.requests, self.rows_each, *rows.shape[1:])


@dataclass(frozen=True)
class ValuePass:
    """What one forward of a problem's rows shows of the model as it is; several layers share it."""

    suffixes: Suffixes  # of the rows, from their lookups on
    outputs: Mapping[int, Tensor]  # layer -> [K, R + 1, d], of the steered module at the lookups
    keys: Mapping[int, Tensor]  # layer -> [K, R + 1, m], input of the MLP's output projection there


@dataclass(frozen=True)
class ValueStep:
    """One Adam update: the loss and gradient it came from, and delta before the norm clamp."""

    loss: float
    gradient: Tensor  # [d]
    unclamped: Tensor  # [d]


@dataclass(frozen=True)
class ValueSolution:
    """What was found. The value to write is `outputs[0] + delta`."""

    delta: Tensor  # [d]
    outputs: Tensor  # [R, d], unedited outputs of the steered module at the rewrite rows' lookups
    steps: tuple[ValueStep, ...]


def requests_together(templates: Sequence[str]) -> int:
    """How many requests fit into one problem: backward passes keep what every row computes."""
    return max(1, ROWS // (len(templates) + 1))


def value_problem(
    lm: LanguageModel, requests: Sequence[EditRequest], templates: Sequence[str]
) -> ValueProblem:
    """Rows of each request under each context template, and its essence row."""
    rows = [row for request in requests for row in _rows_of(lm, request, templates)]
    batch = batch_of_ids(
        [row.prompt for row in rows],
        [row.target for row in rows],
        [row.text for row in rows],
        padding=pad_id(lm.tokenizer),
        device=lm.device,
    )
    lookups = placed([row.lookup for row in rows], lm.device)
    return ValueProblem(batch, lookups, len(requests))


@dataclass(frozen=True)
class _Row:
    text: str
    prompt: list[int]
    target: list[int]  # none in the essence row
    lookup: int


def _rows_of(lm: LanguageModel, request: EditRequest, templates: Sequence[str]) -> Iterator[_Row]:
    tokenizer, subject = lm.tokenizer, request.subject
    target = target_ids(tokenizer, request.target)
    for template in templates:
        text = template.replace("{}", request.prompt, 1)
        lookup = subject_last(tokenizer, request.prompt, subject, template=template)
        yield _Row(text, prompt_ids(tokenizer, text), target, lookup)
    text = ESSENCE.format(subject)
    yield _Row(text, prompt_ids(tokenizer, text), [], subject_last(tokenizer, text, subject))


def value_pass(
    lm: LanguageModel, problem: ValueProblem, layers: Sequence[int], steered: Steered = "mlp"
) -> ValuePass:
    """One forward of the rows, from which the optimisations at any of `layers` start."""
    architecture = lm.architecture
    with ExitStack() as stack:
        outputs, keys = (
            {layer: stack.enter_context(capture(lm.module(path, layer))) for layer in layers}
            for capture, path in (
                (captured_output, architecture.mlp if steered == "mlp" else architecture.block),
                (captured_input, architecture.mlp_out),
            )
        )
        above = {layer + 1 for layer in layers}
        suffixes = Suffixes(lm, problem.batch, problem.lookups.tolist(), above)
    rows, columns = problem.rows, problem.lookups

    def at_lookups(states: Tensor) -> Tensor:
        return problem.by_request(states[rows, columns])

    return ValuePass(
        suffixes,
        {layer: at_lookups(taken.value) for layer, taken in outputs.items()},
        {layer: at_lookups(taken.value) for layer, taken in keys.items()},
    )


@torch.enable_grad()
def optimise_values(
    lm: LanguageModel,
    problem: ValueProblem,
    settings: ValueSettings,
    *,
    layer: int,
    seen: ValuePass,
) -> list[ValueSolution]:
    """For each request, a delta that, added to a block's output at its lookups, yields its target.

    `seen` comes from `value_pass`, which was told whose output is steered: the MLP's of `layer`, or
    the whole block's. In both cases delta ends up in what leaves the block, so that steps start
    there, and at the lookups. Requests share forwards and nothing else: each has its own loss, its
    own step of Adam and its own end.

    The loss is the target's mean negative log-likelihood over the rewrite rows, plus
    `kl_factor` KL(now || unedited) of the essence row at its lookup, plus
    `v_weight_decay` ||delta|| / ||value||^2 (original implementation: first power over square).
    The norm clamp follows each Adam step and leaves Adam's moments alone.
    """
    dtype = torch.float64 if lm.dtype == torch.float64 else torch.float32
    outputs = seen.outputs[layer].to(dtype)  # [K, R + 1, d]
    sizes = outputs[:, 0].norm(dim=-1)
    deltas = torch.zeros_like(outputs[:, 0], requires_grad=True)  # [K, d]
    optimizer = torch.optim.Adam([deltas], lr=settings.v_lr)
    loss = _Loss(lm, problem, settings, seen.suffixes, layer + 1, sizes)
    steps: list[list[ValueStep]] = [[] for _ in range(problem.requests)]
    going, limit = [True] * problem.requests, enough(ENOUGH, settings.stopping)
    for _ in range(settings.v_num_grad_steps - 1):
        losses = loss(deltas)
        values = losses.tolist()
        going = [on and not value < limit for on, value in zip(going, values, strict=True)]
        if not any(going):
            break
        optimizer.zero_grad()
        losses.sum().backward()
        ended = [number for number, on in enumerate(going) if not on]
        former = deltas.detach().clone()
        optimizer.step()
        gradients = torch.zeros_like(deltas) if deltas.grad is None else deltas.grad.clone()
        unclamped = deltas.detach().clone()
        _clamp(deltas, settings.clamp_norm_factor * sizes)
        if ended:
            deltas.detach()[ended] = former[ended]
        for number in (number for number, on in enumerate(going) if on):
            steps[number].append(ValueStep(values[number], gradients[number], unclamped[number]))
    found = zip(deltas.detach(), outputs[:, :-1], map(tuple, steps), strict=True)
    return [ValueSolution(*one) for one in found]


class _Loss:
    """The loss [K] of each request, by deltas [K, d]; the first call sees the unedited model."""

    def __init__(
        self,
        lm: LanguageModel,
        problem: ValueProblem,
        settings: ValueSettings,
        suffixes: Suffixes,
        entered: int,  # the block that what is changed enters
        sizes: Tensor,
    ) -> None:
        self._lm, self._settings, self._sizes = lm, settings, sizes
        self._suffixes, self._entered, self._each = suffixes, entered, problem.rows_each
        self._labels = problem.batch.labels
        self._rows, columns = problem.batch.scored_positions
        self._columns = columns - problem.lookups[self._rows]
        self._owners = self._rows // self._each
        self._counts = occurrences(self._owners, problem.requests)
        self._essence = problem.rows[self._each - 1 :: self._each]
        self._unedited: Tensor | None = None

    def __call__(self, deltas: Tensor) -> Tensor:
        leaving = self._suffixes.entering[self._entered]  # [K (R + 1), S, d]
        change = deltas.to(leaving).repeat_interleave(self._each, dim=0)[:, None]
        changed = torch.cat([leaving[:, :1] + change, leaving[:, 1:]], dim=1)
        final = self._suffixes.final(changed, self._entered)
        scored = [final[self._rows, self._columns], final[self._essence, 0]]
        logits = self._lm.head(torch.cat(scored)).to(deltas.dtype)
        tokens = functional.cross_entropy(
            logits[: len(self._labels)], self._labels, reduction="none"
        )
        essence = functional.log_softmax(logits[len(self._labels) :], dim=-1)
        if self._unedited is None:
            self._unedited = essence.detach()
        target = torch.zeros_like(self._sizes).index_add(0, self._owners, tokens) / self._counts
        drift = (essence.exp() * (essence - self._unedited)).sum(dim=-1)
        decay = deltas.norm(dim=-1) / self._sizes**2
        settings = self._settings
        loss: Tensor = target + settings.kl_factor * drift + settings.v_weight_decay * decay
        return loss


@torch.no_grad()
def _clamp(deltas: Tensor, limits: Tensor) -> None:
    deltas.mul_((limits / deltas.norm(dim=-1)).clamp(max=1.0)[:, None])


@dataclass(frozen=True, kw_only=True)
class ValueHparams(Hparams):
    """Defaults are those of the original ROME's GPT-J configuration, with its names kept."""

    v_num_grad_steps: int = 20
    v_lr: float = 0.5
    v_weight_decay: float = 0.5
    clamp_norm_factor: float = 4.0
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
        """Lengths of the context prefixes to generate."""
        return self.context_lengths

    @property
    def stops_early(self) -> bool:
        """The value's optimisation does."""
        return True

    def value_settings(self, stopping: Stopping = "by_loss") -> ValueSettings:
        """The part that the value optimisation needs."""
        return ValueSettings(
            v_num_grad_steps=self.v_num_grad_steps,
            v_lr=self.v_lr,
            v_weight_decay=self.v_weight_decay,
            clamp_norm_factor=self.clamp_norm_factor,
            kl_factor=self.kl_factor,
            stopping=stopping,
        )


def value_rows(hparams: ValueHparams, on: Setting, *, together: bool = True) -> int:
    """Rows of one optimisation: each context template, the bare prompt, and the essence.

    `together` counts those of all single edits that are prepared at once.
    """
    rows = len(hparams.context_lengths) + 2
    return rows * max(1, ROWS // rows) if on.singles and together else rows


BARE = "{}"
# Words that start a generation, and the sampling cut, of the MEMIT and EasyEdit implementations.
STARTERS = ("The", "Therefore", "Because", "I", "You")
TOP_K = 5
# Ours: fixed, because templates are part of a backbone's statistics and no seed varies them.
TEMPLATE_SEED = 0


def generate_templates(
    lm: LanguageModel, lengths: Sequence[int], *, seed: int = TEMPLATE_SEED
) -> tuple[str, ...]:
    """The bare template and one prefixed template `"<prefix>. {}"` for each of `lengths`.

    A length counts all tokens of a prefix, its starter and BOS too, as in the original
    implementations. The model must be the pristine one. Only a local generator is drawn from.
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
    """One line without braces, which would be read as places for the prompt."""
    plain = unicodedata.normalize("NFKD", text).replace("{", " ").replace("}", " ")
    return " ".join(plain.split())

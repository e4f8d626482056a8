"""The value that makes a fact true: ROME's optimisation of one vector (ROME, section 3.1, step 2).

MEMIT, WILKE and retrieval variants of ROME use the same rows, loss and loop; they differ in the
module whose output is steered (an MLP for ROME, a whole block for MEMIT) and in what they write.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.base import EditRequest
from editors.parts.hooks import changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.resume import block_input, resumed
from editors.parts.stopping import Stopping, enough
from editors.parts.subjects import subject_last
from editors.parts.tokens import TokenBatch, batch_of_ids, pad_id, prompt_ids, target_ids

# The prompt whose prediction must not drift, so that the subject stays what it is (ROME, eq. 4).
ESSENCE = "{} is a"
Steered = Literal["mlp", "block"]

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
    """One request as rows: R rewrite rows (context, prompt, target but its last token), essence.

    The rows are right-padded; row 0 has the bare context; `batch.target_ids` is empty for the
    essence row, which is last.
    """

    batch: TokenBatch  # [R + 1, T]
    lookups: Tensor  # [R + 1], index of the subject's last token in each row

    @property
    def rows(self) -> Tensor:
        """Row numbers [R + 1], to index beside `lookups`."""
        return torch.arange(len(self.batch), device=self.lookups.device)


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


def value_problem(
    lm: LanguageModel, request: EditRequest, templates: Sequence[str]
) -> ValueProblem:
    """Rows of a request under each context template, and its essence row."""
    target = target_ids(lm.tokenizer, request.target)
    texts = [template.replace("{}", request.prompt, 1) for template in templates]
    texts.append(ESSENCE.format(request.subject))
    lookups = [
        subject_last(lm.tokenizer, request.prompt, request.subject, template=template)
        for template in templates
    ]
    lookups.append(subject_last(lm.tokenizer, texts[-1], request.subject))
    batch = batch_of_ids(
        [prompt_ids(lm.tokenizer, text) for text in texts],
        [target] * len(templates) + [[]],
        texts,
        padding=pad_id(lm.tokenizer),
        device=lm.device,
    )
    return ValueProblem(batch, torch.tensor(lookups, device=lm.device))


@torch.enable_grad()
def optimise_value(
    lm: LanguageModel,
    problem: ValueProblem,
    settings: ValueSettings,
    *,
    layer: int,
    steered: Steered = "mlp",
) -> ValueSolution:
    """Optimise a delta that, added to a block's output at every lookup, yields the target.

    `steered` says whose output: that of the MLP of `layer`, or of the whole block.

    The loss is the target's mean negative log-likelihood over the rewrite rows, plus
    `kl_factor` KL(now || unedited) of the essence row at its lookup, plus
    `v_weight_decay` ||delta|| / ||value||^2 (original implementation: first power over square).
    The norm clamp follows each Adam step and leaves Adam's moments alone.
    """
    dtype = torch.float64 if lm.dtype == torch.float64 else torch.float32
    delta = torch.zeros(lm.hidden_size, dtype=dtype, device=lm.device, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=settings.v_lr)
    architecture = lm.architecture
    module = lm.module(architecture.mlp if steered == "mlp" else architecture.block, layer)
    entering = block_input(lm, problem.batch, layer)
    outputs = torch.empty(0)
    unedited = torch.empty(0)
    steps: list[ValueStep] = []
    for _ in range(settings.v_num_grad_steps - 1):
        with resumed(lm, layer, entering), _adding(module, problem, delta) as seen:
            target_logits, essence_logits = _logits(lm, problem)
        essence = functional.log_softmax(essence_logits.to(dtype), dim=-1)
        if not steps:
            outputs, unedited = seen[0].to(dtype), essence.detach()
        loss = functional.cross_entropy(target_logits.to(dtype), problem.batch.labels)
        loss = loss + settings.kl_factor * (essence.exp() * (essence - unedited)).sum()
        loss = loss + settings.v_weight_decay * delta.norm() / outputs[0].norm() ** 2
        if loss.item() < enough(ENOUGH, settings.stopping):
            break
        steps.append(_update(delta, optimizer, loss))
        _clamp(delta, settings.clamp_norm_factor * outputs[0].norm())
    return ValueSolution(delta.detach(), outputs[:-1], tuple(steps))


@contextmanager
def _adding(module: nn.Module, problem: ValueProblem, delta: Tensor) -> Iterator[list[Tensor]]:
    """Add delta at the lookups of all rows; yields a list that gets the outputs before that."""
    places = (problem.rows, problem.lookups)
    seen: list[Tensor] = []

    def add(_: Tensor, output: Tensor) -> Tensor:
        here = tuple(place.to(output.device) for place in places)  # the layer's own device
        seen.append(output[here].detach())
        added = delta.to(output).expand(len(problem.rows), -1)
        return output.index_put(here, added, accumulate=True)

    with changed_output(module, add):
        yield seen


def _logits(lm: LanguageModel, problem: ValueProblem) -> tuple[Tensor, Tensor]:
    """Logits [N, V] where the rewrite rows predict the target, and [V] at the essence lookup."""
    hidden = lm.hidden_states(problem.batch)
    rows, columns = problem.batch.scored_positions
    rows = torch.cat([rows, problem.rows[-1:]])
    columns = torch.cat([columns, problem.lookups[-1:]])
    logits = lm.head(hidden[rows, columns])
    return logits[:-1], logits[-1]


def _update(delta: Tensor, optimizer: torch.optim.Optimizer, loss: Tensor) -> ValueStep:
    optimizer.zero_grad()
    loss.backward()
    gradient = delta.grad.clone() if delta.grad is not None else torch.zeros_like(delta)
    optimizer.step()
    return ValueStep(loss.item(), gradient, delta.detach().clone())


@torch.no_grad()
def _clamp(delta: Tensor, limit: Tensor) -> None:
    norm = delta.norm()
    if norm > limit:
        delta.mul_(limit / norm)

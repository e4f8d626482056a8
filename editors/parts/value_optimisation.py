"""The value that makes a fact true: ROME's optimisation of one vector (ROME, section 3.1, step 2).

MEMIT, WILKE and retrieval variants of ROME use the same rows, loss and loop; they differ in the
module whose output is steered (an MLP for ROME, a whole block for MEMIT) and in what they write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from editors.base import EditRequest
from editors.parts.hooks import captured_input, captured_output
from editors.parts.language_model import LanguageModel
from editors.parts.stopping import Stopping, enough
from editors.parts.subjects import subject_last
from editors.parts.suffixes import Suffixes
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
class ValuePass:
    """What one forward of a problem's rows shows of the model as it is; several layers share it."""

    suffixes: Suffixes  # of the rows, from their lookups on
    outputs: Mapping[int, Tensor]  # layer -> [R + 1, d], of the steered module at the lookups
    keys: Mapping[int, Tensor]  # layer -> [R + 1, m], input of the MLP's output projection there


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
    return ValuePass(
        suffixes,
        {layer: taken.value[rows, columns] for layer, taken in outputs.items()},
        {layer: taken.value[rows, columns] for layer, taken in keys.items()},
    )


@torch.enable_grad()
def optimise_value(
    lm: LanguageModel,
    problem: ValueProblem,
    settings: ValueSettings,
    *,
    layer: int,
    seen: ValuePass,
) -> ValueSolution:
    """Optimise a delta that, added to a block's output at every lookup, yields the target.

    `seen` comes from `value_pass`, which was told whose output is steered: the MLP's of `layer`, or
    the whole block's. In both cases delta ends up in what leaves the block, so that steps start
    there, and at the lookups.

    The loss is the target's mean negative log-likelihood over the rewrite rows, plus
    `kl_factor` KL(now || unedited) of the essence row at its lookup, plus
    `v_weight_decay` ||delta|| / ||value||^2 (original implementation: first power over square).
    The norm clamp follows each Adam step and leaves Adam's moments alone.
    """
    dtype = torch.float64 if lm.dtype == torch.float64 else torch.float32
    outputs = seen.outputs[layer].to(dtype)
    delta = torch.zeros(lm.hidden_size, dtype=dtype, device=outputs.device, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=settings.v_lr)
    leaving = seen.suffixes.entering[layer + 1]  # [R + 1, S, d]
    rows, columns = problem.batch.scored_positions
    columns = columns - problem.lookups[rows]
    size = outputs[0].norm()
    unedited = torch.empty(0)
    steps: list[ValueStep] = []
    for _ in range(settings.v_num_grad_steps - 1):
        changed = torch.cat([leaving[:, :1] + delta.to(leaving), leaving[:, 1:]], dim=1)
        final = seen.suffixes.final(changed, layer + 1)
        logits = lm.head(torch.cat([final[rows, columns], final[-1:, 0]])).to(dtype)
        essence = functional.log_softmax(logits[-1], dim=-1)
        if not steps:
            unedited = essence.detach()
        loss = functional.cross_entropy(logits[:-1], problem.batch.labels)
        loss = loss + settings.kl_factor * (essence.exp() * (essence - unedited)).sum()
        loss = loss + settings.v_weight_decay * delta.norm() / size**2
        value = loss.item()
        if value < enough(ENOUGH, settings.stopping):
            break
        optimizer.zero_grad()
        loss.backward()
        gradient = delta.grad.clone() if delta.grad is not None else torch.zeros_like(delta)
        optimizer.step()
        steps.append(ValueStep(value, gradient, delta.detach().clone()))
        _clamp(delta, settings.clamp_norm_factor * size)
    return ValueSolution(delta.detach(), outputs[:-1], tuple(steps))


@torch.no_grad()
def _clamp(delta: Tensor, limit: Tensor) -> None:
    delta.mul_((limit / delta.norm()).clamp(max=1.0))

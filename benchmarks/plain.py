"""A plain implementation of the same editors and probes: single rows, whole forwards, no caches.

This is how research code begins. It makes the same library calls as the package and must end in the
same metrics; only then can the two times be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

from bench.evaluation.inference import Forced
from bench.evaluation.probing import BlockAnswers, Item, Prober
from editors.base import Editor
from editors.grace import GraceEditor
from editors.parts.fast_paths import FastPaths, Stopping, enough
from editors.parts.grace import put
from editors.parts.hooks import captured_input, captured_output, changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.t_patcher import LastBlock, Neurons
from editors.parts.target_value import (
    ENOUGH,
    Steered,
    TargetRows,
    TargetValue,
    UneditedPass,
    ValueHparams,
    ValueStep,
)
from editors.parts.tokens import RetrievalText, TokenBatch
from editors.t_patcher import TPatcherEditor


@contextmanager
def everything() -> Iterator[None]:
    """Inside, editors and probes use the plain implementation; pass batches of one row yourself."""
    with ExitStack() as stack:
        for target, instead in _REPLACED.items():
            stack.enter_context(patch(target, instead))
        yield


# ---- probes -------------------------------------------------------------------------------


def _target_logits(lm: LanguageModel, batch: TokenBatch) -> Tensor:
    """Logits at every position, then those of the target."""
    return lm.logits(batch)[batch.scored_positions]


def _with_text(
    self: Prober,
    items: Sequence[Item],
    editor: Editor[Any],
    known: Sequence[Forced],
    text: RetrievalText,
    partial: BlockAnswers,
) -> list[Forced]:
    """Both modes of retrieval are run, even where they agree; without retrieval there is one."""
    if not editor.retrieves_text:
        return list(known)
    return self._predict(items, editor.steering, text, partial)


# ---- ROME's value ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """One row of the optimisation of a target value, without padding."""

    ids: Tensor  # [1, T]
    lookup: int
    columns: Tensor  # [N] that predict the target; none in the essence row
    labels: Tensor  # [N]


def _rows(problem: TargetRows) -> list[_Row]:
    rows, columns = problem.batch.scored_positions
    return [
        _Row(
            problem.batch.input_ids[i : i + 1, :length],
            int(problem.lookups[i]),
            columns[rows == i],
            problem.batch.labels[rows == i],
        )
        for i, length in enumerate(problem.batch.lengths)
    ]


@torch.no_grad()
def _unedited_pass(
    lm: LanguageModel, rows: TargetRows, layers: Sequence[int], steered: Steered = "mlp"
) -> UneditedPass:
    outputs: dict[int, Tensor] = {}
    keys: dict[int, Tensor] = {}
    for layer in layers:
        seen = []
        for row in _rows(rows):
            with (
                captured_output(_steered(lm, layer, steered)) as output,
                captured_input(lm.module(lm.architecture.mlp_out, layer)) as key,
            ):
                lm.model(input_ids=row.ids, use_cache=False)
            seen.append((output.value[0, row.lookup], key.value[0, row.lookup]))
        outputs[layer], keys[layer] = (
            torch.stack(values)[None] for values in zip(*seen, strict=True)
        )
    return UneditedPass(_OnlySteered(steered), outputs, keys)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _OnlySteered:
    """Stands in for the prepared suffixes."""

    steered: Steered


def _steered(lm: LanguageModel, layer: int, steered: Steered) -> torch.nn.Module:
    architecture = lm.architecture
    return lm.module(architecture.mlp if steered == "mlp" else architecture.block, layer)


@torch.enable_grad()
def _optimise_targets(
    lm: LanguageModel,
    rows: TargetRows,
    hparams: ValueHparams,
    *,
    layer: int,
    unedited: UneditedPass,
    stopping: Stopping = "by_loss",
) -> list[TargetValue]:
    steered: Any = unedited.suffixes
    module, single = _steered(lm, layer, steered.steered), _rows(rows)
    (outputs,) = unedited.outputs[layer]  # of one request
    delta = torch.zeros_like(outputs[0], requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=hparams.v_lr)
    pristine = torch.empty(0)
    steps: list[ValueStep] = []
    for _ in range(hparams.v_num_grad_steps - 1):
        summed, count = torch.zeros(()), 0
        essence = torch.empty(0)
        for row in single:
            with changed_output(module, _adding(row.lookup, delta)):
                logits = lm.model(input_ids=row.ids, use_cache=False).logits[0]
            if len(row.labels):
                here = functional.cross_entropy(logits[row.columns], row.labels, reduction="sum")
                summed, count = summed + here, count + len(row.labels)
            else:
                essence = functional.log_softmax(logits[row.lookup], dim=-1)
        if not steps:
            pristine = essence.detach()
        loss = summed / count
        loss = loss + hparams.kl_factor * (essence.exp() * (essence - pristine)).sum()
        loss = loss + hparams.v_weight_decay * delta.norm() / outputs[0].norm() ** 2
        if loss.item() < enough(ENOUGH, stopping):
            break
        optimizer.zero_grad()
        loss.backward()
        gradient = torch.zeros_like(delta) if delta.grad is None else delta.grad.clone()
        optimizer.step()
        steps.append(ValueStep(loss.item(), gradient, delta.detach().clone()))
        with torch.no_grad():
            limit = hparams.clamp_norm_factor * outputs[0].norm()
            if delta.norm() > limit:
                delta.mul_(limit / delta.norm())
    return [TargetValue(delta.detach(), outputs[:-1], tuple(steps))]


def _adding(column: int, delta: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    def add(_: Tensor, output: Tensor) -> Tensor:
        place = (torch.zeros(1, dtype=torch.long), torch.tensor([column]))
        return output.index_put(place, delta[None].to(output), accumulate=True)

    return add


# ---- GRACE, FT -------------------------------------------------------------------------------


class _WholeRows:
    """Whole forwards instead of `editors.parts.suffixes.Suffixes`."""

    def __init__(
        self, lm: LanguageModel, batch: TokenBatch, _: Sequence[int], layers: Sequence[int]
    ) -> None:
        self._lm, self._batch = lm, batch
        self.entering: Mapping[int, Tensor] = {layer: torch.empty(0) for layer in layers}

    def final(self, _: Tensor, __: int) -> Tensor:
        return self._lm.hidden_states(self._batch)


def _grace_starts(_: GraceEditor, batch: TokenBatch) -> Tensor:
    return torch.zeros(len(batch), dtype=torch.long)


def _grace_states(
    lm: LanguageModel,
    module: torch.nn.Module,
    _: int,
    batch: TokenBatch,
    __: Tensor,
    where: Callable[[Tensor], Tensor],
) -> Callable[[Tensor], Tensor]:
    """The whole model, with the value replaced at the queried positions."""

    def final(value: Tensor) -> Tensor:
        def replaced(_: Tensor, output: Tensor) -> Tensor:
            return put(output, value, where(output[..., 0]))

        with changed_output(module, replaced):
            return lm.hidden_states(batch)

    return final


# ---- T-Patcher -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _WholeModel(LastBlock):
    """The edited row, run through the whole model at every step."""

    row: TokenBatch

    def target_logits(self, neurons: Neurons) -> Tensor:
        mlp = self.lm.module(self.lm.architecture.mlp, self.lm.n_layers - 1)

        def answer(inputs: Tensor, output: Tensor) -> Tensor:
            return output + neurons.contribution(inputs, self.activation).to(output)

        with changed_output(mlp, answer):
            return self.lm.logits(self.row)[0, self.columns]


_last_block = LastBlock.of


def _whole_model(lm: LanguageModel, row: TokenBatch, *, dtype: torch.dtype) -> _WholeModel:
    return _WholeModel(**vars(_last_block(lm, row, dtype=dtype)), row=row)


_edit_row = TPatcherEditor.edit_row


def _edit_row_steered(self: TPatcherEditor, row: TokenBatch) -> Any:
    """Earlier neurons are active in every forward, not in a cached one."""
    with self.steering(row), patch.object(self, "steering", _no_steering):
        return _edit_row(self, row)


@contextmanager
def _no_steering(_: TokenBatch) -> Iterator[None]:
    yield


def _never(*_: Any) -> None:
    return None


_BATCHED = (
    "rome.RomeEditor",
    "memit.MemitEditor",
    "grace.GraceEditor",
    "r_rome.RRomeEditor",
    "recipe.RecipeEditor",
    "lte.LteEditor",
)
_REPLACED: dict[str, Any] = {
    "editors.parts.language_model.LanguageModel.target_logits": _target_logits,
    "bench.evaluation.probing.Prober._with_text": _with_text,
    "bench.evaluation.probing.BARE": None,  # forcing and decoding each run the prompt
    "bench.evaluation.driver.pristine_answers": _never,
    "bench.evaluation.caches.CachedEdits.get": _never,
    "editors.parts.retrieving.RetrievingEditor.caching_retrievals": FastPaths.caching_retrievals,
    **{f"editors.{name}.edits_at_once": 1 for name in _BATCHED},
    **{f"editors.{name}.unedited_pass": _unedited_pass for name in ("rome", "wilke", "memit")},
    **{f"editors.{name}.optimise_targets": _optimise_targets for name in ("rome", "memit")},
    "editors.grace.final_states": _grace_states,
    "editors.grace.GraceEditor.starts": _grace_starts,
    "editors.ft.Suffixes": _WholeRows,
    "editors.t_patcher.LastBlock.of": _whole_model,
    "editors.t_patcher.TPatcherEditor.edit_row": _edit_row_steered,
    "editors.parts.t_patcher._InputCache.get": _never,
}

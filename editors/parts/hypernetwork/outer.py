"""What an edit is judged by: losses and token accuracies of probes under shifted weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from editors.parts.hypernetwork.examples import MetaBatch, Row, token_batch
from editors.parts.hypernetwork.projections import group_means
from editors.parts.hypernetwork.shifts import Shift, shifted
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, occurrences

Shifts = Mapping[str, Shift]
# Where the locality loss compares: at all positions of the text, or where its answer is predicted.
Positions = Literal["all", "answer"]


def answer_nll(lm: LanguageModel, rows: Sequence[Row], shifts: Shifts, systems: int) -> Tensor:
    """Sum over systems of the mean negative log-likelihood of the system's target tokens."""
    batch = token_batch(lm, rows)
    with shifted(lm, shifts):
        logits = lm.target_logits(batch).float()
    losses = functional.cross_entropy(logits, batch.labels, reduction="none")
    return (losses * group_means(batch, systems)).sum()


def locality_kl(
    lm: LanguageModel, rows: Sequence[Row], shifts: Shifts, systems: int, positions: Positions
) -> Tensor:
    """Sum over systems of the mean KL(unedited || edited) at the system's positions."""
    batch = token_batch(lm, rows)
    with torch.no_grad():
        before = _log_probabilities(lm, batch, positions)
    with shifted(lm, shifts):
        after = _log_probabilities(lm, batch, positions)
    divergences = functional.kl_div(after, before, reduction="none", log_target=True).sum(-1)
    if positions == "answer":
        return (divergences * group_means(batch, systems)).sum()
    owner = batch.attention_mask.nonzero()[:, 0] // (len(batch) // systems)
    counts = occurrences(owner, systems)
    return (divergences / counts[owner]).sum()


def _log_probabilities(lm: LanguageModel, batch: TokenBatch, positions: Positions) -> Tensor:
    if positions == "answer":
        return lm.target_logits(batch).float().log_softmax(-1)
    hidden = lm.hidden_states(batch)[batch.attention_mask.bool()]
    return lm.head(hidden).float().log_softmax(-1)


@torch.no_grad()
def accuracies(lm: LanguageModel, batch: MetaBatch, shifts: Shifts) -> dict[str, list[float]]:
    """Teacher-forced token accuracies of every row: reliability, generality, locality.

    Locality compares with the unedited model's argmax.
    """
    unrelated = token_batch(lm, batch.unrelated)
    edits, rephrases = token_batch(lm, batch.edits), token_batch(lm, batch.rephrases)
    plain = lm.target_logits(unrelated).argmax(-1)
    with shifted(lm, shifts):
        return {
            "reliability": _shares(lm, edits, edits.labels),
            "generality": _shares(lm, rephrases, rephrases.labels),
            "locality": _shares(lm, unrelated, plain),
        }


def _shares(lm: LanguageModel, batch: TokenBatch, wanted: Tensor) -> list[float]:
    right = (lm.target_logits(batch).argmax(-1) == wanted).tolist()
    rows, _ = batch.scored_positions
    by_row: dict[int, list[float]] = {}
    for row, hit in zip(rows.tolist(), right, strict=True):
        by_row.setdefault(row, []).append(float(hit))
    return [fmean(hits) for hits in by_row.values()]

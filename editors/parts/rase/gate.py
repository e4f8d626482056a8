"""The gate: which stored fact a query uses, if any (RASE; sev777/RASE, its gate functions)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from editors.parts.retrieving import Candidate, Explanation

TOP_K = 6  # scores that the gate looks at (released code; the paper says five)


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A query fires if its best score is high, or if it stands out from the next ones.

    The defaults are the original's, tuned there for its own trained encoder.
    """

    maximum: float = 0.9  # of the best score
    difference: float = 0.15  # of the best and the second
    spread: float = 0.05  # population standard deviation of the best six

    def fires(self, top: Tensor) -> Tensor:
        """Whether [B] each query fires, by its best scores [B, K] in descending order.

        A memory of fewer than six facts gives what it has; one fact alone has only the first rule.
        All comparisons are strict.
        """
        high = top[:, 0] > self.maximum
        if top.shape[1] == 1:
            return high
        apart = top[:, 0] - top[:, 1] > self.difference
        return high | (apart & (top.std(dim=1, correction=0) > self.spread))

    def explanation(self, candidates: Sequence[Candidate], used: int | None) -> Explanation:
        """Which of the best facts a query uses, and by which of the two rules."""
        apart = used is not None and candidates[0].score <= self.maximum
        return Explanation(
            measure="cosine",
            candidates=tuple(candidates),
            limit=self.maximum,
            limit_is="threshold",
            used=used,
            note="the best stands out from the others" if apart else "",
        )


@dataclass(frozen=True)
class Ranking:
    """The best facts of each of B queries, K of them at most, in descending order."""

    scores: Tensor  # [B, K]
    index: Tensor  # [B, K]

    @property
    def best(self) -> Tensor:
        """Index [B] of the best fact."""
        return self.index[:, 0]


def rank(queries: Tensor, keys: Tensor, sentences: Tensor | None = None) -> Ranking:
    """As `rank_units`, of vectors of any length."""
    units = None if sentences is None else functional.normalize(sentences, dim=-1)
    return rank_units(queries, functional.normalize(keys, dim=-1), units)


def rank_units(queries: Tensor, keys: Tensor, sentences: Tensor | None = None) -> Ranking:
    """The best facts for queries [B, w], by cosine to the facts' keys [N, w], of unit length.

    With `sentences` [N, w], of unit length too, the embeddings of the prompts that were edited, the
    ranking is two-way: the best facts by their keys are ranked anew by the mean of both cosines
    (the paper's sum would not fit the thresholds; the released code takes the mean).
    """
    queries = functional.normalize(queries, dim=-1)
    cosines = queries @ keys.T  # [B, N]
    top = cosines.topk(min(TOP_K, len(keys)), dim=1)
    if sentences is None:
        return Ranking(top.values, top.indices)
    near = sentences[top.indices]  # [B, K, w]
    both = (top.values + (near @ queries[:, :, None])[..., 0]) / 2
    again = both.sort(dim=1, descending=True, stable=True)
    return Ranking(again.values, top.indices.gather(1, again.indices))

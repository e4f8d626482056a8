"""Why a text is answered as it is: the stored edits that are nearest to it, and the one in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

SHOWN = 5  # nearest entries that are told of each text; ours


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One stored entry and how well a text matches it."""

    row: int  # counted from 0, in the order of storing
    text: str  # what the entry stands for
    score: float


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What one text was looked up by, and with which outcome."""

    measure: str  # what a score is: `cosine`, `distance`, ..
    candidates: tuple[Candidate, ...]  # the nearest, best first
    limit: float | None  # what the best one had to beat; None: the best is taken always
    limit_is: str  # what that is: `sentinel`, `threshold`, ..
    used: int | None  # row of the entry that steers the answer; None: none does
    note: str = ""  # what else decided

    @property
    def fired(self) -> bool:
        """Whether an entry steers the answer."""
        return self.used is not None


# Before the first edit.
NOTHING_STORED = Explanation(
    measure="distance", candidates=(), limit=None, limit_is="radius", used=None
)


def nearest(
    scores: Tensor, texts: Sequence[str], *, largest: bool = True, also: int | None = None
) -> tuple[Candidate, ...]:
    """The best entries by their scores [N], best first; of equals the oldest comes first.

    Args:
        scores: of all entries.
        texts: what the entries stand for.
        largest: whether a large score is a good one.
        also: row of an entry that is told of wherever it comes.
    """
    order = scores.sort(descending=largest, stable=True).indices[:SHOWN].tolist()
    if also is not None and also not in order:
        order.append(also)
    return tuple(Candidate(row=row, text=texts[row], score=float(scores[row])) for row in order)

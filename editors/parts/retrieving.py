"""Editors that look up one edit for each text, and explanations of what was looked up."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from editors.base import Editor, HparamsT
from editors.parts.fast_paths import FastPaths
from editors.parts.tokens import placed


class RetrievingEditor(FastPaths, Editor[HparamsT]):
    """Answers a row by the one edit that its text retrieves, or as the model is."""

    retrieves_text = True
    _remembered: dict[str, int] | None = None

    @abstractmethod
    def search(self, texts: Sequence[str]) -> Tensor:
        """Number [B] of the edit that each text uses, and another number for none."""

    def retrieve(self, texts: Sequence[str]) -> Tensor:
        """As `search`; inside `caching_retrievals`, no text is searched for twice."""
        known = self._remembered
        if known is None:
            return self.search(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            known.update(zip(missing, self.search(missing).tolist(), strict=True))
        return placed([known[text] for text in texts], self.lm.device)

    def retrieved(self, texts: Sequence[str]) -> list[int]:
        rows: list[int] = self.retrieve(texts).tolist()
        return rows

    @contextmanager
    def caching_retrievals(self) -> Iterator[None]:
        self._remembered = {}
        try:
            yield
        finally:
            self._remembered = None


SHOWN = 5  # nearest entries in an explanation; ours


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

    `texts` are what the entries stand for; the row `also` is included wherever it comes.
    """
    order = scores.sort(descending=largest, stable=True).indices[:SHOWN].tolist()
    if also is not None and also not in order:
        order.append(also)
    return tuple(Candidate(row=row, text=texts[row], score=float(scores[row])) for row in order)

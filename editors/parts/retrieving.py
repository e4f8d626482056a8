"""The part that all editors share which look up one edit for each text, by a sentence encoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor

from editors.base import Editor, HparamsT
from editors.parts.tokens import placed


class RetrievingEditor(Editor[HparamsT]):
    """Answers a row by the one edit that its text retrieves, or as the model is."""

    retrieves_text = True
    _remembered: dict[str, int] | None = None

    @abstractmethod
    def search(self, texts: Sequence[str]) -> Tensor:
        """Number [B] of the edit that each text uses, and another number for none."""

    def retrieve(self, texts: Sequence[str]) -> Tensor:
        """As `search`; inside `remembering`, no text is searched for twice."""
        known = self._remembered
        if known is None:
            return self.search(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            known.update(zip(missing, self.search(missing).tolist(), strict=True))
        return placed([known[text] for text in texts], self.lm.device)

    def retrieved(self, texts: Sequence[str]) -> list[int]:
        """See the base class."""
        rows: list[int] = self.retrieve(texts).tolist()
        return rows

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """See the base class."""
        self._remembered = {}
        try:
            yield
        finally:
            self._remembered = None

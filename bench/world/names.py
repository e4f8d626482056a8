"""Invented, pronounceable names: seeded, unique, of one to four sub-word tokens."""

from __future__ import annotations

import numpy as np

_ONSETS = ("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z",
           "br", "dr", "kr", "pl", "st", "tr", "gl", "sk", "th")  # fmt: skip
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ea", "ou")
_CODAS = ("", "", "", "l", "n", "r", "s", "m", "k", "nd", "rt", "x")
_ENDINGS: dict[str, tuple[str, ...]] = {
    "first": ("a", "o", "i", "en", "el", "is"),
    "last": ("sen", "ov", "ini", "ard", "ek", "wick", "mann", "os", "ley", "ano"),
    "city": ("burg", "mere", "ton", "ford", "aven", "grad", "port", "holm", "ana"),
    "country": ("ia", "land", "stan", "ora", "une"),
    "language": ("ish", "ese", "ic", "ian"),
    "currency": ("ar", "ling", "o", "een"),
    "company": ("corp", "tex", "soft", "works", "co"),
    "thing": ("ip", "le", "er", "ock", "et"),
    "word": ("", "ar", "on", "el", "um", "as"),
}


class NameMaker:
    """Draws names that never repeat within one maker."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._taken: set[str] = set()

    def word(self, kind: str) -> str:
        """One new capitalised word (lower case for things and currencies).

        One syllable and an ending: full names stay at one to four tokens.
        """
        while True:
            name = self._syllable() + self._pick(_ENDINGS[kind])
            if name not in self._taken and len(name) > 3:
                self._taken.add(name)
                return name if kind in ("thing", "currency") else name.capitalize()

    def words(self, kind: str, count: int) -> list[str]:
        return [self.word(kind) for _ in range(count)]

    def _syllable(self) -> str:
        return self._pick(_ONSETS) + self._pick(_VOWELS) + self._pick(_CODAS)

    def _pick(self, options: tuple[str, ...]) -> str:
        return options[int(self._rng.integers(len(options)))]

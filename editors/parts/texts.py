"""Texts without torch: how prompt and answer join, where an answer ends, where a subject is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import pairwise

# Scripts that put no space between words: Thai, Lao, Tibetan, Burmese, Khmer, Chinese, Japanese.
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\uff00-\uff9f"
    "\U00020000-\U0003ffff]"
)
_LETTER = re.compile(r"\w")
# Quotation marks, dashes and Turkish letters that stand for others in names.
_SAME = str.maketrans(
    "\u2018\u2019\u02bc\u201c\u201d\u2010\u2011\u2013\u2014\u0130\u0131", "'''\"\"----Ii"
)


def space_before(text: str, prompt: str | None = None) -> str:
    """The space that joins a text to its prompt: one, or none between words of scripts without.

    Without a prompt, the text alone decides.
    """
    letters = _LETTER.findall(text)[:1] if prompt is None else _LETTER.findall(prompt)[-1:]
    bare = all(map(_WITHOUT_SPACES.match, [text, *letters]))
    return "" if text.startswith(" ") or bare else " "


def joined(prompt: str, target: str) -> str:
    """A prompt and its target as one text, with what `space_before` says between them."""
    prompt, target = prompt.rstrip(), target.lstrip()
    return prompt + space_before(target, prompt) + target


def subject_span(prompt: str, subject: str) -> tuple[int, int] | None:
    """Begin and end of the subject in the prompt, in characters; None where it is not there.

    White space around it, and how much of it is between its words, plays no part, and neither does
    the Unicode form, a soft hyphen, or which quotation marks and dashes are used. Whole words come
    before beginnings of words (inflected names), the subject's own letter case before another, and
    the first place before later ones; elsewhere in a word it is only as it is spelt.
    """
    if span := _whole_words(prompt, subject):
        return span
    for whole in (True, False):
        for fold in (str, str.casefold):
            text, places = _folded(prompt, fold)
            wanted = _folded(subject, fold)[0].strip()
            for start in _starts(text, wanted):
                end = start + len(wanted)
                if not (_joins(text, start) or (whole and _joins(text, end))):
                    return places[start], places[end - 1] + 1
    words = subject.strip()
    return next(((start, start + len(words)) for start in _starts(prompt, words)), None)


def is_inside_a_word(prompt: str, span: tuple[int, int]) -> bool:
    """Whether a place of a prompt is a part of a longer word."""
    return any(_joins(prompt, place) for place in span)


def _whole_words(prompt: str, subject: str) -> tuple[int, int] | None:
    """As `subject_span`, of the usual case alone, for which folding would cost more."""
    words = " ".join(subject.split())
    if prompt != " ".join(prompt.split()):
        return None
    ends = ((start, start + len(words)) for start in _starts(prompt, words))
    return next((span for span in ends if not is_inside_a_word(prompt, span)), None)


def _starts(text: str, words: str) -> Iterator[int]:
    """Where some words are in a text; no words are nowhere."""
    start = text.find(words) if words else -1
    while start >= 0:
        yield start
        start = text.find(words, start + 1)


def _joins(text: str, place: int) -> bool:
    """Whether a word goes on across a place of a text."""
    pair = text[max(place - 1, 0) : place + 1]
    inner = (c.isalnum() or c == "_" or unicodedata.category(c)[0] == "M" for c in pair)
    return 0 < place < len(text) and all(inner) and not any(map(_WITHOUT_SPACES.match, pair))


def _folded(text: str, fold: Callable[[str], str]) -> tuple[str, list[int]]:
    """A text in one Unicode form with single spaces, and the place of each of its characters."""
    parts: list[tuple[str, int]] = [("", 0)]
    for place, character in enumerate(text.translate(_SAME)):
        folded = " " if character.isspace() else fold(unicodedata.normalize("NFKD", character))
        parts += [(part, place) for part in folded if unicodedata.category(part) != "Cf"]
    single = [new for old, new in pairwise(parts) if not old[0] == new[0] == " "]
    return "".join(part for part, _ in single), [place for _, place in single]


def ends_in(text: str, pattern: re.Pattern[str]) -> list[int]:
    """Where the pattern ends an answer in a text: nothing does before its first letter or digit."""
    begin = _LETTER.search(text)
    return [end.start() for end in pattern.finditer(text, begin.end())] if begin else []


def ends_inside(target: str, pattern: re.Pattern[str]) -> int:
    """How many places of a target look like an end, but for its own."""
    return len(ends_in(target.strip()[:-1], pattern))


def as_spelt(subject: str, prompt: str) -> str:
    """The subject as the prompt spells it; without white space around it where it is not there."""
    span = subject_span(prompt, subject)
    return subject.strip() if span is None else prompt[slice(*span)]

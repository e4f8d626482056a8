"""Texts without torch: how a prompt and its answer join, where an answer ends, where a subject is."""

from __future__ import annotations

import re
import unicodedata

# Scripts that put no space between words: Thai, Lao, Tibetan, Burmese, Khmer, Chinese, Japanese.
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\uff00-\uff9f"
    "\U00020000-\U0003ffff]"
)
_LETTER = re.compile(r"\w")


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
    the Unicode form. Whole words come before parts of words, the subject's own letter case before
    another, and the first place before later ones.
    """
    if span := _whole_words(prompt, subject):
        return span
    forms = dict.fromkeys([subject, *(unicodedata.normalize(f, subject) for f in ("NFC", "NFD"))])
    patterns = [r"\s+".join(map(re.escape, form.split())) for form in forms if form.strip()]
    for frame in (r"(?<!\w){}(?!\w)", "{}"):
        for flags in (0, re.IGNORECASE):
            for pattern in patterns:
                if match := re.search(frame.replace("{}", pattern), prompt, flags):
                    return match.span()
    return None


def _whole_words(prompt: str, subject: str) -> tuple[int, int] | None:
    """As `subject_span`, of the usual case alone, for which an expression would cost more."""
    words = " ".join(subject.split())
    if not words or prompt != " ".join(prompt.split()):
        return None
    start = prompt.find(words)
    while start >= 0:
        end = start + len(words)
        if not _LETTER.search(prompt[start - 1 : start] + prompt[end : end + 1]):
            return start, end
        start = prompt.find(words, start + 1)
    return None


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

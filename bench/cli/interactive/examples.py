"""Edits and questions of the made world that a newcomer can type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from editors.base import EditSample


@dataclass(frozen=True, kw_only=True)
class Example:
    """An edit, and what to ask behind it."""

    prompt: str
    target: str
    subject: str
    rephrased: str  # asks for the same fact
    unrelated: str  # asks for another one, which stays


def examples(samples: Sequence[EditSample], count: int = 4) -> list[Example]:
    """The first edits of some samples, each of another form of question."""
    found: dict[str, Example] = {}
    for sample in samples:
        if not sample.generality or not sample.locality:
            continue
        request = sample.request
        form = request.prompt.replace(request.subject, "")
        found.setdefault(
            form,
            Example(
                prompt=request.prompt,
                target=request.target,
                subject=request.subject,
                rephrased=sample.generality[0].prompt,
                unrelated=sample.locality[0].prompt,
            ),
        )
        if len(found) == count:
            break
    return list(found.values())

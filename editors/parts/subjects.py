"""Where the subject ends in a prompt: the token at which ROME-like editors read and write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def subject_last(
    tokenizer: PreTrainedTokenizerBase, prompt: str, subject: str, *, template: str = "{}"
) -> int:
    """Index of the subject's last token in the ids of `template` filled with `prompt`.

    The subject is taken where it first occurs in the prompt (never in the template's own text),
    and its last token is the last one whose characters overlap it. This holds for every fast
    tokenizer, with or without BOS, and also where the token swallows what follows the subject.
    A subject that is not in the prompt is looked up at the prompt's last token.

    Raises:
        ValueError: the tokenizer is not a fast one and knows no character offsets.
    """
    if not tokenizer.is_fast:
        raise ValueError(
            f"Looking up the subject needs a fast tokenizer with character offsets, "
            f"got {type(tokenizer).__name__}."
        )
    start = template.index("{}")
    text = template.replace("{}", prompt, 1)
    begin, end = _span(prompt, subject)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    overlapping = [
        index
        for index, (first, last) in enumerate(offsets)
        if max(first, start + begin) < min(last, start + end)
    ]
    return overlapping[-1] if overlapping else len(offsets) - 1


def subject_in_prompt(prompt: str, subject: str) -> bool:
    """Whether `subject_last` finds the subject itself, literally."""
    return bool(subject) and subject in prompt


def _span(prompt: str, subject: str) -> tuple[int, int]:
    """Characters of the subject's first occurrence, else of the prompt's last character."""
    if not subject_in_prompt(prompt, subject):
        return len(prompt) - 1, len(prompt)
    begin = prompt.index(subject)
    return begin, begin + len(subject)

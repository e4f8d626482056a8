"""Which rows of a data set a model can read, found before any is used.

A text that is longer than the context fails on some architectures and is answered wrongly on
others; the same rows are left out on all of them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from bench.models.backbones import Backbone, context_of, tokenizer_of

if TYPE_CHECKING:
    from bench.datasets import LoadedSamples
    from editors.base import EditSample

_FRONT = 8  # special tokens and a space that a tokenizer may put in front; ours


def fitting(
    loaded: LoadedSamples, backbone: Backbone, *, template: str = "{}", new_tokens: int = 0
) -> LoadedSamples:
    """Without the rows that have a question beyond the context, with its target or new tokens.

    Prompts are those put into the template. A text has no more tokens than bytes, so that the
    tokenizer is read for long texts alone.

    Raises:
        ValueError: no row is left.
    """
    context = context_of(backbone)
    tokens = cache(lambda: _token_counter(backbone))
    too_long: dict[str, str] = {}
    for sample in loaded.samples:
        for name, prompt, target in _texts(sample):
            text = template.format(prompt)
            if _bytes(text) + max(_bytes(target), new_tokens) + _FRONT <= context:
                continue
            asked, forced = tokens()(text, target)
            if asked + max(forced, new_tokens) > context:
                row = sample.id.split("/", 2)[-1]
                too_long.setdefault(sample.id, f"row {row}, {name}, of {asked:,} tokens")
    return loaded.without(
        too_long, f"row that does not fit the context of {context:,} tokens of {backbone.name}"
    )


def _texts(sample: EditSample) -> Iterator[tuple[str, str, str]]:
    """(name, prompt, target) of the request and the probes of a sample."""
    yield "edit", sample.request.prompt, sample.request.target
    for aspect, probes in (("generality", sample.generality), ("locality", sample.locality)):
        for probe in probes:
            yield f"{aspect} ({probe.kind})", probe.prompt, probe.target


def _bytes(text: str) -> int:
    """At least as many as the tokens of a text, whether a tokenizer normalises it or not."""
    return max(len(form.encode()) for form in (text, unicodedata.normalize("NFKC", text)))


def _token_counter(backbone: Backbone) -> Callable[[str, str], tuple[int, int]]:
    """How many tokens a model reads of a prompt, and of a forced target."""
    from editors.parts.tokens import prompt_ids, target_ids

    tokenizer = tokenizer_of(backbone)

    def count(prompt: str, target: str) -> tuple[int, int]:
        return len(prompt_ids(tokenizer, prompt)), len(target_ids(tokenizer, target)) - 1

    return count

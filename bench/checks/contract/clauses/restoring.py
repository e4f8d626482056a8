"""Clauses about what an editor leaves behind: nothing, also where an edit failed."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch

from bench.checks.contract.clause import FIRST, PAIRS, SECOND, clause, clean, pristine, wanted
from bench.checks.contract.subjects import (
    InterruptedEditError,
    Subject,
    interrupted_head,
    logits,
    weights,
)
from editors.base import EditRequest
from editors.parts.tokens import batch_of


@clause
def exact_reset(subject: Subject) -> None:
    """Reset restores the model to the bit and leaves nothing behind."""
    editor = subject.editor()
    before, answers = weights(editor.lm.model), logits(editor, PAIRS)
    editor.edit([FIRST])
    editor.edit([SECOND])
    wanted(not torch.equal(logits(editor, PAIRS), answers), "the edits changed no answer")
    editor.reset()
    pristine(editor, before, answers)


@clause
def reset_after_a_bad_request(subject: Subject) -> None:
    """Reset works after a request that cannot be read, which ends an edit halfway."""
    editor = subject.editor()
    before, answers = weights(editor.lm.model), logits(editor, PAIRS)
    unreadable = _UnreadableRequest(prompt="No target for", target="", subject="target")
    try:
        editor.edit([FIRST, unreadable])
    except InterruptedEditError:
        pass
    else:
        wanted(False, "the error of the request was swallowed")
    clean(editor)
    editor.reset()
    pristine(editor, before, answers)


@clause
def reset_after_a_failing_model(subject: Subject) -> None:
    """Reset works after a model that fails in the middle of an edit."""
    for after in (0, 3):
        editor = subject.editor()
        before, answers = weights(editor.lm.model), logits(editor, PAIRS)
        with interrupted_head(editor.lm, after=after), suppress(InterruptedEditError):
            editor.edit([FIRST])  # an editor that runs no model edits undisturbed
        clean(editor)
        editor.reset()
        pristine(editor, before, answers)


@clause
def nothing_hangs_on(subject: Subject) -> None:
    """Outside of steering no hook hangs on an edited model, and no parameter is left to train."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    clean(editor)


@clause
def steering_ends(subject: Subject) -> None:
    """Steering ends with its context, also by an exception."""
    editor = subject.editor()
    editor.edit([FIRST])
    batch = batch_of(editor.lm.tokenizer, PAIRS, device=editor.lm.device)
    seen: list[Exception] = []
    try:
        with editor.steering(batch):
            raise InterruptedEditError
    except InterruptedEditError as error:
        seen.append(error)
    wanted(bool(seen), "steering swallows exceptions")
    clean(editor)


class _UnreadableRequest(EditRequest):
    """A request whose target cannot be had."""

    def __getattribute__(self, name: str) -> Any:
        if name == "target":
            raise InterruptedEditError
        return super().__getattribute__(name)

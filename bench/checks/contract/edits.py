"""Clauses about edits: their effect, their order, and that a reset undoes them completely."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from bench.checks.contract.clause import (
    FIRST,
    PAIRS,
    SECOND,
    THIRD,
    Pristine,
    clause,
    require,
    require_answers,
    require_clean,
    require_close,
    require_equal,
)
from bench.checks.contract.tiny import (
    REQUESTS,
    InterruptedEditError,
    Subject,
    interrupted_head,
    log_probability,
    logits,
)
from editors.base import EditRequest
from editors.parts.fast_paths import fast_paths
from editors.parts.in_context import InContextEditor
from editors.parts.tokens import batch_of

RAISED = 0.1  # of a target's mean log-probability, by an edit of it


@clause
def empty_edit(subject: Subject) -> None:
    """An empty edit changes nothing."""
    editor = subject.editor()
    before, state = Pristine(editor), editor.state_dict()
    editor.edit([])
    require_equal(editor.state_dict(), state, "the state")
    before.require_again(editor)


@clause
def edit_raises_target(subject: Subject) -> None:
    """An edit raises the log-probability of its target."""
    editor = subject.editor()
    before = log_probability(editor, FIRST)
    editor.edit([FIRST])
    raised = log_probability(editor, FIRST) - before
    if isinstance(editor, InContextEditor):  # random weights do not read their context
        require(abs(raised) > RAISED / 10, f"it moved by {raised:.3g}")
    else:
        require(raised > RAISED, f"it rose by {raised:.3g}, wanted {RAISED}")


@clause
def edits_accumulate(subject: Subject) -> None:
    """A second edit adds to the first, and the model answers by both."""
    editor = subject.editor()
    answers = []
    for requests in ([FIRST], [SECOND], [FIRST, SECOND]):
        for request in requests:
            editor.edit([request])
        answers.append(logits(editor, PAIRS[:2]))
        editor.reset()
    *alone, both = answers
    for other, which in zip(alone, ("the first", "the second"), strict=True):
        require(not torch.equal(both, other), f"two edits answer as {which} alone does")


@clause
def one_seed_one_result(subject: Subject) -> None:
    """One seed gives one result, and no global random number is drawn."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        editor = subject.editor(seed=3)
        before = _generators()
        editor.edit([FIRST, SECOND])
        answers = logits(editor, PAIRS)
        require(_generators() == before, "numbers were drawn from a global generator")
        torch.manual_seed(6)
        other = subject.editor(seed=3)
        other.edit([FIRST, SECOND])
        require_answers(other, answers, "another editor answers otherwise")
        editor.reset()
        editor.edit([FIRST, SECOND])
        require_answers(editor, answers, "after a reset it answers otherwise")


def _generators() -> list[Any]:
    """The states of the global generators, comparable."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002 - the global generator is meant
    return [torch.get_rng_state().tolist(), random.getstate(), np.asarray(keys).tolist(), rest]


@clause
def prepared_together(subject: Subject) -> None:
    """Edits that are prepared together equal edits that are prepared alone."""
    editor, other = (subject.editor(dtype=torch.float64) for _ in range(2))
    paths = fast_paths(editor)
    requests = REQUESTS[: min(3, paths.edits_at_once)]
    prepared = paths.prepare(requests)
    require(len(prepared) == len(requests), f"{len(prepared)} edits for {len(requests)} requests")
    for request, apply in zip(requests, prepared, strict=True):
        apply()
        other.edit([request])
        require_close(logits(editor, PAIRS), logits(other, PAIRS), "logits prepared and alone")
        state, alone = editor.state_dict(), other.state_dict()
        require(state.keys() == alone.keys(), "the states have other names")
        for name, tensor in state.items():
            require_close(tensor, alone[name], f"{name} of the state")
        editor.reset()
        other.reset()


@clause
def state_round_trip(subject: Subject) -> None:
    """The state goes through a file, and the stream of edits continues from it to the bit."""
    editor, other = subject.editor(), subject.editor()
    before = Pristine(other)
    editor.edit([FIRST, SECOND])
    with TemporaryDirectory() as folder:
        save_file(editor.state_dict(), Path(folder, "state.safetensors"))
        other.edit([THIRD])
        other.load_state_dict(load_file(Path(folder, "state.safetensors")))
    require_answers(other, logits(editor, PAIRS), "with the state loaded it answers otherwise")
    editor.edit([THIRD])
    other.edit([THIRD])
    answers = logits(editor, PAIRS)
    require_answers(other, answers, "an edit after the loaded state gives other answers")
    other.reset()
    before.require_again(other)


@clause
def exact_reset(subject: Subject) -> None:
    """Reset restores the model to the bit and leaves nothing on it."""
    editor = subject.editor()
    before = Pristine(editor)
    editor.edit([FIRST])
    editor.edit([SECOND])
    changed = not torch.equal(logits(editor, PAIRS), before.answers)
    require(changed, "the edits changed no answer")
    editor.reset()
    before.require_again(editor)


@clause
def reset_after_a_bad_request(subject: Subject) -> None:
    """Reset works after a request that cannot be read, which ends an edit halfway."""
    editor = subject.editor()
    before = Pristine(editor)
    unreadable = _UnreadableRequest(prompt="No target for", target="", subject="target")
    try:
        editor.edit([FIRST, unreadable])
    except InterruptedEditError:
        pass
    else:
        require(False, "the error of the request was swallowed")
    require_clean(editor)
    editor.reset()
    before.require_again(editor)


class _UnreadableRequest(EditRequest):
    """A request whose target raises."""

    def __getattribute__(self, name: str) -> Any:
        if name == "target":
            raise InterruptedEditError
        return super().__getattribute__(name)


@clause
def reset_after_a_failing_model(subject: Subject) -> None:
    """Reset works after a model that fails in the middle of an edit."""
    for after in (0, 3):
        editor = subject.editor()
        before = Pristine(editor)
        with interrupted_head(editor.lm, after=after), suppress(InterruptedEditError):
            editor.edit([FIRST])  # an editor that runs no model edits undisturbed
        require_clean(editor)
        editor.reset()
        before.require_again(editor)


@clause
def no_leftovers(subject: Subject) -> None:
    """Outside of steering an edited model has no hook, and no parameter is left to train."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    require_clean(editor)


@clause
def steering_ends(subject: Subject) -> None:
    """Steering ends with its context, also by an exception."""
    editor = subject.editor()
    editor.edit([FIRST])
    batch = batch_of(editor.lm.tokenizer, PAIRS, device=editor.lm.device)
    raised = False
    try:
        with editor.steering(batch):
            raise InterruptedEditError
    except InterruptedEditError:
        raised = True
    require(raised, "steering swallows exceptions")
    require_clean(editor)

"""Clauses about what edits do, and in what order."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load_file, save_file

from bench.checks.contract.clause import (
    FIRST,
    PAIRS,
    SECOND,
    THIRD,
    clause,
    near,
    pristine,
    same,
    wanted,
)
from bench.checks.contract.draws import global_draws, kept_draws
from bench.checks.contract.subjects import Subject, log_probability, logits, weights
from bench.checks.contract.tiny import REQUESTS
from editors.parts.in_context import InContextEditor

RAISED = 0.1  # of a target's mean log-probability, by an edit of it


@clause
def empty_edit(subject: Subject) -> None:
    """An empty edit changes nothing."""
    editor = subject.editor()
    before, state = weights(editor.lm.model), editor.state_dict()
    answers = logits(editor, PAIRS)
    editor.edit([])
    same(weights(editor.lm.model), before, "weights")
    same(editor.state_dict(), state, "the state")
    wanted(torch.equal(logits(editor, PAIRS), answers), "answers changed")


@clause
def edit_tells(subject: Subject) -> None:
    """An edit raises the log-probability of its target."""
    editor = subject.editor()
    before = log_probability(editor, FIRST)
    editor.edit([FIRST])
    raised = log_probability(editor, FIRST) - before
    if isinstance(editor, InContextEditor):  # random weights do not read what stands in front
        wanted(abs(raised) > RAISED / 10, f"it moved by {raised:.3g}")
    else:
        wanted(raised > RAISED, f"it rose by {raised:.3g}, wanted {RAISED}")


@clause
def edits_accumulate(subject: Subject) -> None:
    """A second edit is made on top of the first, and takes nothing for it that is not there."""
    editor = subject.editor()
    found = []
    for requests in ([FIRST], [SECOND], [FIRST, SECOND]):
        for request in requests:
            editor.edit([request])
        found.append(logits(editor, PAIRS[:2]))
        editor.reset()
    for other, which in ((found[0], "the first"), (found[1], "the second")):
        wanted(not torch.equal(found[2], other), f"two edits answer as {which} alone does")


@clause
def one_seed_one_result(subject: Subject) -> None:
    """One seed gives one result, and no global random number is drawn."""
    with kept_draws():
        _one_seed_one_result(subject)


def _one_seed_one_result(subject: Subject) -> None:
    torch.manual_seed(5)
    one = subject.editor(seed=3)
    before = global_draws()
    one.edit([FIRST, SECOND])
    answers = logits(one, PAIRS)
    wanted(global_draws() == before, "numbers were drawn from a global generator")
    torch.manual_seed(6)
    other = subject.editor(seed=3)
    other.edit([FIRST, SECOND])
    wanted(torch.equal(logits(other, PAIRS), answers), "another editor answers otherwise")
    one.reset()
    one.edit([FIRST, SECOND])
    wanted(torch.equal(logits(one, PAIRS), answers), "after a reset it answers otherwise")


@clause
def prepared_together(subject: Subject) -> None:
    """Edits that are prepared together are those that are made alone."""
    editor, other = (subject.editor(dtype=torch.float64) for _ in range(2))
    requests = REQUESTS[: min(3, editor.together)]
    made = editor.prepare(requests)
    wanted(len(made) == len(requests), f"{len(made)} edits for {len(requests)} requests")
    for request, make in zip(requests, made, strict=True):
        make()
        other.edit([request])
        near(logits(editor, PAIRS), logits(other, PAIRS), "logits prepared and alone")
        one, two = editor.state_dict(), other.state_dict()
        wanted(one.keys() == two.keys(), "the states have other names")
        for name, tensor in one.items():
            near(tensor, two[name], f"{name} of the state")
        editor.reset()
        other.reset()


@clause
def state_goes_through_disk(subject: Subject) -> None:
    """The state goes through a file, and the stream of edits continues from it to the bit."""
    editor, other = subject.editor(), subject.editor()
    before, answers = weights(other.lm.model), logits(other, PAIRS)
    editor.edit([FIRST, SECOND])
    with TemporaryDirectory() as folder:
        save_file(editor.state_dict(), Path(folder, "state.safetensors"))
        other.edit([THIRD])
        other.load_state_dict(load_file(Path(folder, "state.safetensors")))
    alike = torch.equal(logits(other, PAIRS), logits(editor, PAIRS))
    wanted(alike, "with the state loaded it answers otherwise")
    editor.edit([THIRD])
    other.edit([THIRD])
    alike = torch.equal(logits(other, PAIRS), logits(editor, PAIRS))
    wanted(alike, "an edit behind the loaded state gives other answers")
    other.reset()
    pristine(other, before, answers)

"""Edits that are made by hand can be taken back to the bit, with every editor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.cli.interactive.session import Session
from editors import registry
from editors.base import Editor, EditRequest
from tests.support.contract import InterruptedEditError, Subject, leftovers, logits, weights
from tests.support.tiny import REQUESTS, SAMPLES

PAIRS = [(request.prompt, request.target) for request in REQUESTS]
PAIRS += [(probe.prompt, probe.target) for probe in (*SAMPLES[0].generality, *SAMPLES[0].locality)]
FIRST, SECOND, THIRD, _ = REQUESTS


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artefacts")


@pytest.fixture(params=registry.available())
def session(request: pytest.FixtureRequest, directory: Path) -> Session:
    subject = Subject(key=str(request.param), architecture="llama", directory=directory)
    return Session(subject.editor())


def facts(editor: Editor[Any]) -> dict[str, Tensor]:
    """Everything that an answer or a later edit depends on."""
    found = {f"weights.{name}": value for name, value in weights(editor.lm.model).items()}
    found |= {f"state.{name}": value for name, value in editor.state_dict().items()}
    return found | {"logits": logits(editor, PAIRS)}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_undo_is_exact_edit_by_edit(session: Session) -> None:
    stages = [facts(session.editor)]
    for request in (FIRST, SECOND):
        session.edit(request)
        stages.append(facts(session.editor))
    assert not torch.equal(stages[0]["logits"], stages[1]["logits"])
    assert not torch.equal(stages[1]["logits"], stages[2]["logits"])
    assert session.undo() == SECOND
    assert_same(facts(session.editor), stages[1])
    session.edit(SECOND)
    assert_same(facts(session.editor), stages[2])
    assert session.undo() == SECOND
    assert session.undo() == FIRST
    assert_same(facts(session.editor), stages[0])
    assert session.undo() is None
    assert leftovers(session.editor.lm.model) == []


def test_asking_leaves_the_edits_as_they_are(session: Session) -> None:
    unedited = session.ask(FIRST.prompt)
    assert not unedited.changed
    session.edit(FIRST)
    session.edit(SECOND)
    before = facts(session.editor)
    replies = [session.ask(prompt) for prompt, _ in PAIRS]  # of most, nothing is known before
    assert_same(facts(session.editor), before)
    assert replies[0].before == unedited.before
    assert [session.ask(prompt) for prompt, _ in PAIRS] == replies


def test_reset_takes_all_back(session: Session) -> None:
    before = facts(session.editor)
    session.edit(FIRST)
    session.edit(SECOND)
    assert session.reset() == 2
    assert session.edits == ()
    assert_same(facts(session.editor), before)
    assert session.reset() == 0


class Unreadable(EditRequest):
    """Fails in the midst of an edit."""

    def __getattribute__(self, name: str) -> Any:
        if name == "target":
            raise InterruptedEditError
        return super().__getattribute__(name)


def test_an_edit_that_fails_leaves_those_before_it(session: Session) -> None:
    session.edit(FIRST)
    before = facts(session.editor)
    with pytest.raises(InterruptedEditError):
        session.edit(Unreadable(prompt="No target for", target="", subject="target"))
    assert session.edits == (FIRST,)
    assert_same(facts(session.editor), before)


def test_an_undo_that_is_interrupted_leaves_all_edits(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(Subject(key="ft", architecture="llama", directory=directory).editor())
    for request in (FIRST, SECOND, THIRD):
        session.edit(request)
    before, edit = facts(session.editor), session.editor.edit
    left = [SECOND]  # what Ctrl-C ends, the first time that it is made again

    def interrupted(requests: Sequence[EditRequest]) -> None:
        if [*requests] == left:
            left.clear()
            raise KeyboardInterrupt
        edit(requests)

    monkeypatch.setattr(session.editor, "edit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.undo()
    assert session.edits == (FIRST, SECOND, THIRD)
    assert_same(facts(session.editor), before)
    assert session.undo() == THIRD


def test_a_reset_that_is_interrupted_leaves_all_edits(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(Subject(key="ft", architecture="llama", directory=directory).editor())
    session.edit(FIRST)
    before, reset = facts(session.editor), session.editor.reset
    calls: list[int] = []

    def interrupted() -> None:
        reset()
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(session.editor, "reset", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.reset()
    assert session.edits == (FIRST,)
    assert_same(facts(session.editor), before)
    assert session.reset() == 1


def test_a_question_that_does_not_fit_leaves_the_edits(directory: Path) -> None:
    session = Session(Subject(key="ft", architecture="llama", directory=directory).editor())
    session.edit(FIRST)
    before = facts(session.editor)
    with pytest.raises(ValueError, match="does not fit the context"):
        session.ask("word " * 500)
    assert_same(facts(session.editor), before)
    assert session.edits == (FIRST,)


def test_answers_before_are_those_of_the_unedited_model(directory: Path) -> None:
    subject = Subject(key="ft", architecture="llama", directory=directory)
    session, fresh = Session(subject.editor()), Session(subject.editor())
    session.edit(FIRST)
    session.edit(THIRD)
    for prompt, _ in PAIRS:
        assert session.ask(prompt).before == fresh.ask(prompt).before

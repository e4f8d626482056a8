"""Every clause of the contract can be broken, and says so; a sound editor breaks none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.checks.contract.clause import BrokenClauseError
from bench.checks.contract.clauses import CLAUSES
from bench.checks.contract.verdicts import verdicts
from bench.cli.main import main
from editors import registry
from editors.registry import EditorEntry, OwnEditor
from tests.support.broken_editors import BROKEN, Sound
from tests.support.contract import Subject

Admit = Callable[[type[Sound]], str]


@pytest.fixture
def admitted(monkeypatch: pytest.MonkeyPatch) -> Admit:
    """Puts a class among the user's editors, and gives its key."""

    def admit(cls: type[Sound]) -> str:
        entry = EditorEntry(
            key="trial", class_name=cls.__name__, label=cls.label, family=cls.family, in_paper=False
        )
        own = OwnEditor(entry=entry, path=None, load=lambda: cls, digest=lambda: "0" * 64)
        monkeypatch.setattr(registry, "_named", {"trial": own})
        return "trial"

    return admit


def test_every_clause_has_an_editor_that_breaks_it() -> None:
    assert BROKEN.keys() == CLAUSES.keys()


@pytest.mark.parametrize("clause", CLAUSES)
def test_a_clause_can_fail(clause: str, admitted: Admit, tmp_path: Path) -> None:
    key = admitted(BROKEN[clause])
    with pytest.raises(BrokenClauseError):
        CLAUSES[clause].check(Subject(key=key, architecture="gpt2", directory=tmp_path))


def test_a_sound_editor_breaks_none(admitted: Admit, tmp_path: Path) -> None:
    found = list(verdicts(admitted(Sound), tmp_path))
    assert [one.clause.name for one in found if not one.holds] == []
    assert len(found) == len(CLAUSES)


def test_the_command_tells_each_clause_and_why(
    admitted: Admit, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["contract", admitted(BROKEN["exact_reset"])]) == 1
    told = capsys.readouterr().out
    assert "FAILED  Reset restores the model to the bit and leaves nothing behind." in told
    assert "on tiny-gpt2: weights changed: transformer.h.2.mlp.c_proj.weight." in told
    assert "passed  An empty edit changes nothing." in told
    assert told.splitlines()[-1].startswith("Step: ")


def test_an_error_of_the_editor_breaks_a_clause(
    admitted: Admit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such thing.")

    monkeypatch.setattr(Sound, "edit", fail)
    key = admitted(Sound)
    found = {one.clause.name: one for one in verdicts(key, tmp_path, ["llama", "gpt2"])}
    assert list(found["edit_tells"].lines()) == [
        "FAILED  An edit raises the log-probability of its target.",
        "        on every model: RuntimeError: no such thing.",
    ]

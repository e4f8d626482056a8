"""Every editor meets the contract on every architecture, and every clause can be broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.checks.contract import CLAUSES, BrokenClauseError, verdicts
from bench.checks.contract.clause import FIRST, PAIRS, SECOND
from bench.checks.contract.tiny import TINY, Subject
from editors import registry
from editors.parts.fact_memory import NONE
from editors.registry import EditorEntry, OwnEditor
from tests.cli.commands import Cli
from tests.support.broken_editors import BROKEN, Sound

Admit = Callable[[type[Sound]], str]


@pytest.fixture(params=[f"{key}-{kind}" for key in registry.shipped() for kind in TINY])
def subject(request: pytest.FixtureRequest, artefacts: Path) -> Subject:
    key, _, architecture = request.param.rpartition("-")
    return Subject(key=key, architecture=architecture, directory=artefacts)


@pytest.mark.slow
@pytest.mark.parametrize("clause", CLAUSES)
def test_the_clause_holds(subject: Subject, clause: str) -> None:
    CLAUSES[clause].check(subject)


@pytest.mark.parametrize("architecture", TINY)
def test_the_batch_mixes_rows_with_and_without_a_fact(architecture: str, artefacts: Path) -> None:
    """Else the suite would not notice an LTE that mixes them up; others differ on these pairs."""
    editor: Any = Subject(key="lte", architecture=architecture, directory=artefacts).editor()
    editor.edit([FIRST, SECOND])
    retrieved = editor.retrieve([prompt for prompt, _ in PAIRS]).tolist()
    assert retrieved[:2] == [0, 1]
    assert retrieved[-1] == NONE


# ---- broken editors ------------------------------------------------------------------------------


@pytest.fixture
def admitted(monkeypatch: pytest.MonkeyPatch) -> Admit:
    """Registers a class as a user's editor and returns its key."""

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
    every = list(verdicts(admitted(Sound), tmp_path))
    assert [verdict.clause.name for verdict in every if not verdict.holds] == []
    assert len(every) == len(CLAUSES)


def test_the_command_prints_each_clause_and_why(admitted: Admit, cli: Cli) -> None:
    code, printed, _ = cli("contract", admitted(BROKEN["exact_reset"]))
    assert code == 1
    assert f"FAILED  {CLAUSES['exact_reset'].sentence}" in printed
    assert "on tiny-gpt2: weights changed: transformer.h.2.mlp.c_proj.weight." in printed
    assert f"passed  {CLAUSES['empty_edit'].sentence}" in printed
    assert printed.splitlines()[-1].startswith("Step: ")


def test_an_error_of_the_editor_breaks_a_clause(
    admitted: Admit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such thing.")

    monkeypatch.setattr(Sound, "edit", fail)
    every = {v.clause.name: v for v in verdicts(admitted(Sound), tmp_path, ["llama", "gpt2"])}
    assert list(every["edit_raises_target"].lines()) == [
        f"FAILED  {CLAUSES['edit_raises_target'].sentence}",
        "        on every model: RuntimeError: no such thing.",
    ]

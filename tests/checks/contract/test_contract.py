"""Every registered editor does what every editor must do, on every architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.checks.contract import CLAUSES
from bench.checks.contract.clause import FIRST, PAIRS, SECOND
from bench.checks.contract.tiny import TINY, Subject
from editors import registry
from editors.parts.fact_memory import NONE


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artefacts")


@pytest.fixture(params=[f"{key}-{kind}" for key in registry.shipped() for kind in TINY])
def subject(request: pytest.FixtureRequest, directory: Path) -> Subject:
    key, _, architecture = request.param.rpartition("-")
    return Subject(key=key, architecture=architecture, directory=directory)


@pytest.mark.parametrize("clause", CLAUSES)
def test_the_clause_holds(subject: Subject, clause: str) -> None:
    CLAUSES[clause].check(subject)


@pytest.mark.parametrize("architecture", TINY)
def test_the_batch_mixes_rows_with_and_without_a_fact(architecture: str, directory: Path) -> None:
    """Else the suite would not notice an LTE that mixes them up; others differ on these pairs."""
    editor: Any = Subject(key="lte", architecture=architecture, directory=directory).editor()
    editor.edit([FIRST, SECOND])
    retrieved = editor.retrieve([prompt for prompt, _ in PAIRS]).tolist()
    assert retrieved[:2] == [0, 1]
    assert retrieved[-1] == NONE

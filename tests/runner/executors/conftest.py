"""What tests of executors share: processes of any engine find the tests' own jobs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.source import ROOT


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands write where they are; what they start imports this checkout from everywhere."""
    known = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), known])))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Where jobs leave their marks."""
    return tmp_path / "marks"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"

"""What tests of workers share: a store, a log of runs, and no provenance."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.runner import worker
from bench.store.results import ResultStore
from tests.cli.conftest import cli, refused

__all__ = ["cli", "refused"]


@pytest.fixture
def no_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks git and the processor, which is not the matter of most tests."""
    monkeypatch.setattr(worker, "provenance", lambda *_, **__: {})


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "records")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"

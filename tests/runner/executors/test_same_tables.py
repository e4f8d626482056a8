"""A part of Table 1, by every engine: the same records, the same bytes of the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from tests.support.console import warnings_in

RUN = ("run", "--table", "1", "--editors", "recipe,ft", "--datasets", "zsre")
CELLS = ("--edits", "1", "--limit", "3")
ENGINES = {
    "local": ("--jobs", "2"),
    "ray": ("--executor", "ray", "--jobs", "2"),
    "slurm": (
        *("--executor", "slurm", "--slurm-cluster", "local"),
        *("--slurm-time", "9", "--slurm-workers", "2"),
    ),
}

pytestmark = pytest.mark.slow


def compute(out: Path, *how: str) -> Path:
    assert main([*RUN, *CELLS, *how, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compute(tmp_path_factory.mktemp("serial"), "--jobs", "1")


def results(out: Path) -> dict[str, Any]:
    """By key, records without the circumstances of their runs."""
    records = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    assert len(records) == 2
    for record in records.values():
        assert record["status"] == {"state": "complete"}
        assert record.pop("provenance")["threads"] == 1
        del record["digest"]
        for row in record["rows"]:
            assert row.pop("edit_seconds") > 0
    return records


@pytest.mark.parametrize("engine", ENGINES)
def test_tables_are_those_of_one_process(
    engine: str, serial: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = compute(tmp_path / "out", *ENGINES[engine])
    assert warnings_in(capsys.readouterr().err) == ""
    assert results(out) == results(serial)
    names = ["table1.csv", "table1.md", "table1.tex"]
    for directory in (out, serial):
        assert sorted(path.name for path in (directory / "tables").iterdir()) == names
    for name in names:
        assert (out / "tables" / name).read_bytes() == (serial / "tables" / name).read_bytes()

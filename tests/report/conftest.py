"""Reports that several test modules look at, each built once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.store.reference import write_reference
from tests.cli.conftest import cli, refused
from tests.report.hostile import hostile_records, small_tables

__all__ = ["cli", "refused"]


@pytest.fixture(scope="session")
def small_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few committed records of every table."""
    folder = tmp_path_factory.mktemp("small")
    for name, records in small_tables().items():
        write_reference(folder / f"{name}.jsonl", records)
    return folder


@pytest.fixture(scope="session")
def small_report(small_records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of these."""
    return built(small_records, tmp_path_factory.mktemp("reports") / "small")


@pytest.fixture(scope="session")
def hostile_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of records whose every free text is an attack."""
    folder = tmp_path_factory.mktemp("hostile")
    write_reference(folder / "odd.jsonl", hostile_records())
    return built(folder, tmp_path_factory.mktemp("reports") / "hostile")


@pytest.fixture(params=["small_report", "hostile_report"])
def each_report(request: pytest.FixtureRequest) -> Path:
    """Either of them."""
    folder: Path = request.getfixturevalue(request.param)
    return folder


def built(records: Path, out: Path) -> Path:
    """`out`, with the report of a folder of records."""
    assert main(["report", "--from", str(records), "--out", str(out)]) == 0
    return out

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from bench import results
from bench.results import SCHEMA_VERSION, Record, ResultStore, is_complete
from tests.test_cell import CELL

BODY: dict[str, Any] = {"summary": {"samples": 2}, "rows": []}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "deep" / "records")


def complete(**changes: Any) -> Record:
    return results.complete(dataclasses.replace(CELL, **changes), {"label": "FT"}, {}, BODY)


def failed() -> Record:
    try:
        raise RuntimeError("too much")
    except RuntimeError as error:
        return results.failed(CELL, {"label": "FT"}, {}, error)


def test_schema_comes_first_and_status_stands_apart_from_results() -> None:
    record = complete()
    assert list(record)[:3] == ["schema", "key", "status"]
    assert record["schema"] == SCHEMA_VERSION
    assert record["status"] == {"state": "complete"}


def test_a_written_record_is_found_by_its_cell(store: ResultStore) -> None:
    assert store.lookup(CELL) is None
    path = store.write(complete())
    assert path == store.directory / f"{CELL.key()}.json"
    assert store.lookup(CELL) == complete()
    assert store.lookup(dataclasses.replace(CELL, seed=1)) is None


def test_writing_again_replaces(store: ResultStore) -> None:
    store.write(failed())
    store.write(complete())
    assert list(store.records()) == [complete()]


def test_a_failed_record_holds_the_traceback_and_counts_as_not_run(store: ResultStore) -> None:
    store.write(failed())
    record = store.read(CELL.key())
    assert record is not None
    assert not is_complete(record)
    assert record["status"]["message"] == "too much"
    assert "RuntimeError: too much" in record["status"]["traceback"]
    assert "summary" not in record
    assert store.lookup(CELL) is None


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_record_and_nothing_else(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    store.write(complete())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    owner: object = os if stage == "fsync" else Path
    monkeypatch.setattr(owner, stage, full)
    with pytest.raises(OSError, match="No space left"):
        store.write(failed())
    assert [path.name for path in store.directory.iterdir()] == [f"{CELL.key()}.json"]
    assert store.lookup(CELL) == complete()


def test_values_that_are_not_json_are_refused_before_a_file_appears(store: ResultStore) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write(complete() | {"summary": {"mean": float("nan")}})
    assert not store.directory.exists()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text[: len(text) // 2], "is no result record"),
        (lambda text: "[]", "is no result record"),
        (lambda text: "{}", "is no result record"),
        (lambda text: text.replace('"seed":0', '"seed":1'), "another cell than its key says"),
        (lambda text: text.replace('"schema":1', '"schema":9'), "record schema 9, expected 1"),
    ],
)
def test_damaged_files_are_named_and_never_read_as_data(
    store: ResultStore, damage: Any, sentence: str
) -> None:
    path = store.write(complete())
    path.write_text(damage(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(ValueError, match=sentence) as error:
        store.lookup(CELL)
    assert str(path) in str(error.value)


def test_a_record_under_another_name_is_refused(store: ResultStore) -> None:
    path = store.write(complete())
    path.rename(path.with_stem("0" * 64))
    with pytest.raises(ValueError, match="another cell than its name says"):
        store.read("0" * 64)


def test_files_are_compact_json_with_readable_text(store: ResultStore) -> None:
    path = store.write(complete() | {"rows": ["Brenn é"]})
    text = path.read_text(encoding="utf-8")
    assert "Brenn é" in text
    assert json.loads(text)["rows"] == ["Brenn é"]

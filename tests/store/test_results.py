"""Records on disk: written whole, named and set aside where damaged, left out where stale."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.files import set_aside
from bench.evaluation.general_ability.scoring import PROTOCOL_VERSION as ABILITY_VERSION
from bench.evaluation.metrics import PROTOCOL_VERSION
from bench.evaluation.record_kinds import identity_of
from bench.store import results
from bench.store.inventory import split_stale, stale_reason, warn_of_stale
from bench.store.results import (
    SCHEMA_VERSION,
    Record,
    ResultStore,
    digest_of,
    encoded,
    is_complete,
    parse,
    sealed,
)
from bench.tables.figure_data import read_records
from tests.cli.commands import raising
from tests.core.test_cells import CELL
from tests.support.stored_records import ability, editing, failure, store_of, timing

BODY: dict[str, Any] = {"summary": {"samples": 2}, "rows": []}


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "deep" / "records")


def complete(**changes: Any) -> Record:
    return results.complete(dataclasses.replace(CELL, **changes), {"label": "FT"}, {}, BODY)


def failed(error: Exception) -> Record:
    return results.failed(CELL, {"label": "FT"}, {}, error)


def refusing(number: int) -> Callable[..., None]:
    return raising(OSError(number, os.strerror(number)))


def test_a_written_record_is_found_by_its_cell(store: ResultStore) -> None:
    assert store.lookup(CELL) is None
    path = store.write(complete())
    assert path == store.directory / f"{CELL.key()}.json"
    assert store.lookup(CELL) == sealed(complete())
    assert store.lookup(dataclasses.replace(CELL, seed=1)) is None


def test_a_failed_record_holds_the_traceback_and_counts_as_not_run(store: ResultStore) -> None:
    store.write(failed(RuntimeError("too much, no file \udcff")))
    record = store.read(CELL.key())
    assert record is not None
    assert not is_complete(record)
    assert record["status"]["message"] == "too much, no file \\udcff"  # half a character
    assert "RuntimeError: too much" in record["status"]["traceback"]
    assert "summary" not in record
    assert store.lookup(CELL) is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_record_and_nothing_else(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, stage: str, number: int
) -> None:
    store.write(complete())
    owner: object = os if stage == "fsync" else Path
    monkeypatch.setattr(owner, stage, refusing(number))
    with pytest.raises(OSError, match=os.strerror(number)):
        store.write(failed(MemoryError()))
    assert [path.name for path in store.directory.iterdir()] == [f"{CELL.key()}.json"]
    assert store.lookup(CELL) == sealed(complete())


def test_values_that_are_not_json_are_refused_before_a_file_appears(store: ResultStore) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write(complete() | {"summary": {"mean": float("nan")}})
    assert not store.directory.exists()


DAMAGES: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda text: text[: len(text) // 2], "is no result record"),
    (lambda text: b"", "is no result record"),
    (lambda text: b"[]", "is no result record"),
    (lambda text: b"{}", "is no result record"),
    (lambda text: b"\xff\xfe" + text, "is no result record"),
    (lambda text: b"[" * 200_000, "is no result record"),
    (lambda text: text.replace(b'"seed":0', b'"seed":1'), "another cell than its key says"),
    (lambda text: text.replace(b'"samples":2', b'"samples":3'), "its digest is another"),
    (lambda text: text.replace(b'"samples":2', b'"samples":NaN'), "is no result record"),
    (lambda text: text.replace(b'"samples":2', b'"samples":2,"samples":2'), "no result record"),
    (lambda text: text.replace(b'"schema":2', b'"schema":1'), "its digest is another"),
    (lambda text: text.replace(b'"schema":2', b'"schema":true'), "is no result record"),
    (lambda text: text.replace(b'"complete"', b'"perfect"'), "is no result record"),
]


@pytest.mark.parametrize(("damage", "sentence"), DAMAGES)
def test_damaged_files_are_named_set_aside_and_never_read_as_data(
    store: ResultStore,
    damage: Callable[[bytes], bytes],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = store.write(complete())
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    assert store.lookup(CELL) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {path} ")
    assert sentence in line
    assert f"{path.name}.corrupt" in line
    assert [other.name for other in store.directory.iterdir()] == [f"{path.name}.corrupt"]
    assert path.with_name(f"{path.name}.corrupt").read_bytes() == damaged
    assert list(store.records()) == []


def test_nothing_that_was_set_aside_is_overwritten(store: ResultStore) -> None:
    for content in (b"1", b"2", b"3"):
        store.write(complete()).write_bytes(content)
        assert store.lookup(CELL) is None
    there = {path.name[64:]: path.read_bytes() for path in store.directory.iterdir()}
    assert there == {".json.corrupt": b"1", ".json.corrupt.1": b"2", ".json.corrupt.2": b"3"}


def test_a_foreign_file_is_set_aside_when_all_records_are_read(store: ResultStore) -> None:
    store.write(complete())
    (store.directory / "notes.json").write_text('{"mine": 1}')
    (store.directory / "folder.json").mkdir()
    assert [record["key"] for record in store.records()] == [CELL.key()]
    names = sorted(path.name for path in store.directory.iterdir())
    assert names == sorted([f"{CELL.key()}.json", "folder.json", "notes.json.corrupt"])


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_where_nothing_can_be_renamed_a_damaged_file_is_named_and_skipped(
    store: ResultStore,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    store.write(complete())
    path = store.write(complete(seed=1))
    path.write_bytes(b"damaged")
    for name in ("rename", "replace", "touch"):
        monkeypatch.setattr(Path, name, refusing(number))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="Records cannot be written"):
        store.prepare()
    assert [record["key"] for record in store.records()] == [CELL.key()]
    assert f"cannot be set aside: {os.strerror(number)}." in capsys.readouterr().err
    assert path.read_bytes() == b"damaged"


def test_a_sound_record_that_has_come_meanwhile_stays(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.write(complete())
    path.write_bytes(b"damaged")

    def late(_: Path, seen: os.stat_result) -> Path | None:
        store.write(complete())  # another process has set it aside and computed the cell again
        return set_aside(path, seen)

    monkeypatch.setattr(results, "set_aside", late)
    assert store.lookup(CELL) == sealed(complete())
    assert [other.name for other in store.directory.iterdir()] == [path.name]


@pytest.mark.parametrize("schema", [0, 9])
def test_a_record_of_another_schema_is_refused_and_stays(
    store: ResultStore, schema: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store.write(complete())
    path.write_bytes(path.read_bytes().replace(b'"schema":2', b'"schema":%d' % schema))
    with pytest.raises(ValueError, match=f"record schema {schema}, expected 1 or 2"):
        store.lookup(CELL)
    assert list(store.records()) == []
    assert "left out as stale" in capsys.readouterr().err
    assert path.exists()


def test_a_record_under_another_name_or_too_large_is_set_aside(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = store.write(complete())
    path.rename(path.with_stem("0" * 64))
    assert store.read("0" * 64) is None
    assert "another cell than its name says" in capsys.readouterr().err
    store.write(complete())
    monkeypatch.setattr(results, "MAX_BYTES", 100)
    assert store.lookup(CELL) is None
    assert "is larger than any result record" in capsys.readouterr().err


def test_names_are_synchronised_with_the_disk(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronised = []
    monkeypatch.setattr(os, "fsync", lambda file: synchronised.append(os.fstat(file).st_ino))
    path = store.write(complete())
    assert synchronised == [path.stat().st_ino, store.directory.stat().st_ino]


def test_a_file_system_that_cannot_synchronise_folders_serves(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_files_alone(file: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{file}"):  # noqa: PTH112 - a descriptor
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", of_files_alone)
    store.write(complete())
    assert store.lookup(CELL) is not None


def test_the_digest_covers_all_but_itself() -> None:
    record = sealed(complete())
    assert list(record)[:5] == ["schema", "key", "digest", "protocol", "status"]
    assert record["schema"] == SCHEMA_VERSION
    assert sealed(record) == record
    assert sealed(record | {"digest": "0"}) == record
    for name in record.keys() - {"digest"}:
        assert digest_of(record | {name: "changed"}) != record["digest"]
    turned = dict(reversed(record.items()))
    assert digest_of(turned) == record["digest"]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=9,
)


@given(value=JSON)
def test_any_content_comes_back_as_it_was_sealed(value: Any) -> None:
    record = complete() | {"data": {"value": value}}
    assert parse(encoded(record), "it") == sealed(record)


@pytest.mark.parametrize("part", ["status", "cell", "editor", "provenance"])
def test_a_sealed_record_of_another_shape_is_none(part: str) -> None:
    odds: list[Any] = [None, [], "text", 1]
    for odd in odds:
        with pytest.raises(ValueError, match="is no result record"):
            parse(encoded(complete() | {part: odd}), "it")


def changed(record: Record, **changes: Any) -> Record:
    """The record of a cell with other fields."""
    cell = record["cell"] | changes
    return sealed(record | {"cell": cell, "key": identity_of(cell).key()})


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (editing(), None),
        (ability(), None),
        (timing(), None),
        (failure(), None),
        (changed(editing(), measures={"retention": "v1", "collapse": "v1 of another text"}), None),
        (changed(ability(), edits=None), None),  # no editor that could age
        (changed(timing(), editor=None, editor_version=None, n_edits=0), None),
        (changed(editing(), metric_version=7), f"metric protocol 7, now {PROTOCOL_VERSION}"),
        (changed(editing(), measures={"retention": "v0"}), "metric set retention v0, now v1"),
        (changed(editing(), measures={"collapse": "v0 1f"}), "metric set collapse v0, now v1"),
        (changed(editing(), measures={"other": "v1"}), "metric set other v1, now gone"),
        (changed(editing(), editor_version=7), "ft version 7, now 1"),
        (changed(editing(), editor="gone"), "gone version 1, now gone"),
        (changed(ability(), protocol_version=7), f"ability protocol 7, now {ABILITY_VERSION}"),
        (changed(ability(), wording="version 7"), "wording version 7, now version 1"),
        (
            changed(ability(), edits=ability()["cell"]["edits"] | {"editor_version": 7}),
            "ft version 7, now 1",
        ),
        (changed(timing(), timing_version=3), "timing protocol 3, now 4"),
        (changed(timing(), editor_version=7), "recipe version 7, now 1"),
    ],
)
def test_records_of_other_versions_are_stale(record: Record, reason: str | None) -> None:
    assert stale_reason(record) == reason


def test_stale_records_are_counted_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    old = [changed(editing(seed), metric_version=7) for seed in range(2)]
    current, stale = split_stale([editing(), *old])
    assert (current, stale) == ([editing()], old)
    warn_of_stale([])
    assert capsys.readouterr().err == ""
    warn_of_stale(stale)
    reason = f"metric protocol 7, now {PROTOCOL_VERSION}"
    warning = f"warning: 2 stale records are left out ({reason})"
    assert capsys.readouterr().err.startswith(warning)


def test_figures_leave_stale_records_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = [changed(editing(1), metric_version=7), changed(timing(), timing_version=3)]
    store_of(tmp_path, editing(), *old)
    assert [record["key"] for record in read_records(tmp_path)] == [editing()["key"]]
    assert "1 stale record is left out" in capsys.readouterr().err

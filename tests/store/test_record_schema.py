"""The published JSON Schema, and records of every kind and version that it describes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bench.evaluation.record_kinds import KINDS
from bench.store.maintenance.following import contradiction
from bench.store.maintenance.schema import SCHEMA, violations
from bench.store.maintenance.verifying import problems
from bench.store.reference import reference_folder
from bench.store.results import SCHEMAS, Record, ResultStore, parse
from tests.support import stored_records as kept_records
from tests.support.stored_records import (
    RECORDS,
    ability,
    editing,
    everything,
    failure,
    released,
    timing,
)

REFERENCES = sorted(reference_folder().glob("*.jsonl"))


def test_the_schema_is_one() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    assert tuple(schema["properties"]["schema"]["enum"]) == SCHEMAS


def test_there_is_a_record_of_every_schema_and_kind() -> None:
    found = [json.loads(path.read_text("utf-8"))["schema"] for path in sorted(RECORDS.iterdir())]
    assert tuple(found) == SCHEMAS
    assert {record["cell"].get("kind") for record in everything()} == set(KINDS)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_record_of_every_released_schema_loads(tmp_path: Path, schema: int) -> None:
    record = released(schema)
    store = ResultStore(tmp_path)
    file = store.path(record["key"])
    file.write_bytes((RECORDS / f"schema{schema}.json").read_bytes())
    assert store.read(record["key"]) == record
    assert list(store.records()) == [record]


def test_full_records_of_every_kind_hold() -> None:
    for record in everything():
        assert problems(record) == []


def test_the_quick_validator_says_what_the_plain_one_says() -> None:
    plain = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    for record in everything():
        assert plain.is_valid(record)
        for change in BROKEN.values():
            broken = _changed(record, change)
            assert plain.is_valid(broken) == (violations(broken) == [])


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_the_committed_references_have_the_published_shape(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines[:: max(1, len(lines) // 20)]):
        record = parse(line, f"{path.name}, line {number}")
        assert violations(record) == []
        assert "rows" not in record


def test_references_were_found() -> None:
    assert len(REFERENCES) > 5


BROKEN: dict[str, Callable[[Record], Any]] = {
    "no provenance": lambda r: r.pop("provenance"),
    "a version as text": lambda r: r.update(schema="2"),
    "another version": lambda r: r.update(schema=3),
    "a key of other letters": lambda r: r.update(key="../../etc/passwd"),
    "an unknown name": lambda r: r.update(comment="hello"),
    "an unknown kind": lambda r: r["cell"].update(kind="agility"),
    "a cell with another field": lambda r: r["cell"].update(extra=1),
    "no dtype": lambda r: r["cell"].pop("dtype"),
    "a state that there is not": lambda r: r["status"].update(state="perfect"),
    "an editor of another family": lambda r: r["editor"].update(family="XX"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_records_break_it(name: str) -> None:
    for record in everything():
        broken = _changed(record, BROKEN[name])
        assert violations(broken), record["cell"].get("kind")
        assert all(len(line) < 300 for line in violations(broken))


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (editing, lambda r: r.pop("digest")),
        (editing, lambda r: r.pop("summary")),
        (editing, lambda r: r["rows"].clear()),
        (editing, lambda r: r["rows"][0]["items"][0].pop("after")),
        (editing, lambda r: r["rows"][0]["items"][0].update(target_ids=["1"])),
        (editing, lambda r: r["rows"][0]["items"][0].update(target_ids=[])),
        (editing, lambda r: r["rows"][0].update(edit_seconds=-1)),
        (editing, lambda r: r["summary"].update(samples="2")),
        (editing, lambda r: r["summary"]["scores"]["after"]["teacher_forced"]
            ["token_accuracy"].update(average=1.5)),
        (ability, lambda r: r["rows"][0].update(score=2)),
        (ability, lambda r: r["summary"].pop("average")),
        (timing, lambda r: r["summary"].update(forward=None)),
        (timing, lambda r: r["rows"].append({})),
        (failure, lambda r: r["status"].pop("traceback")),
        (failure, lambda r: r.update(summary={})),
    ],
)  # fmt: skip
def test_parts_of_each_kind_must_be_as_published(
    make: Callable[[], Record], change: Callable[[Record], Any]
) -> None:
    assert violations(make()) == []
    assert violations(_changed(make(), change))


@pytest.mark.parametrize("make", [editing, ability])
def test_a_summary_must_follow_from_the_rows(make: Callable[[], Record]) -> None:
    record = make()
    assert contradiction(record) is None
    record["summary"]["items"] += 1
    assert "summary/items is" in str(contradiction(record))
    assert "follows from its rows" in str(contradiction(record))


def test_every_score_is_compared() -> None:
    record = editing()
    scores = record["summary"]["scores"]["after"]["prompt_only"]["exact"]
    scores["generality"] += 1e-6
    assert "scores/after/prompt_only/exact/generality" in str(contradiction(record))
    scores["generality"] -= 1e-6
    del record["summary"]["kinds"]["after"]["generated"]
    assert "kinds/after/generated" in str(contradiction(record))


def test_rows_that_no_score_follows_from_are_said() -> None:
    record = editing()
    record["rows"][0]["items"][0]["target_ids"].append(1)
    assert "no summary follows from its rows: ValueError" in str(contradiction(record))


def test_complete_records_without_rows_do_not_hold() -> None:
    record = ability()
    del record["rows"]
    assert problems(record) == ["it has no rows, so that nothing follows from them."]


def _changed(record: Record, change: Callable[[Record], Any]) -> Record:
    changed = copy.deepcopy(record)
    change(changed)
    return changed


def test_made_records_are_of_their_own_cells() -> None:
    keys = [record["key"] for record in everything()]
    assert len(set(keys)) == len(keys)
    assert kept_records.editing(3)["cell"]["seed"] == 3

"""The form of records, as types and as the published JSON Schema, and what follows from rows."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bench.core.cells import Cell
from bench.datasets import get_dataset
from bench.evaluation.general_ability import scoring
from bench.evaluation.metrics import summarise
from bench.evaluation.probing import items_of
from bench.evaluation.record_kinds import KINDS
from bench.store.reference import line, reference_folder
from bench.store.results import SCHEMAS, Record, ResultStore, parse
from bench.store.schema import SCHEMA, AbilityCell, EditingCell, TimingCell, published, violations
from bench.store.verification import contradiction, problems
from bench.world.store import data_dir
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
PLAIN = Draft202012Validator(published())


def test_the_committed_schema_is_generated_from_the_types() -> None:
    committed = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert committed == published(), "python -m bench.store.schema writes it"
    Draft202012Validator.check_schema(committed)


def test_there_is_a_record_of_every_schema_and_kind() -> None:
    schemas = [json.loads(path.read_text("utf-8"))["schema"] for path in sorted(RECORDS.iterdir())]
    assert tuple(schemas) == SCHEMAS
    records = everything()
    assert {record["cell"].get("kind") for record in records} == set(KINDS)
    assert len({record["key"] for record in records}) == len(records)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_record_of_every_released_schema_loads(tmp_path: Path, schema: int) -> None:
    record = released(schema)
    store = ResultStore(tmp_path)
    store.path(record["key"]).write_bytes((RECORDS / f"schema{schema}.json").read_bytes())
    assert store.read(record["key"]) == record
    assert list(store.records()) == [record]


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_every_line_of_the_committed_references_is_encoded_to_the_same_bytes(path: Path) -> None:
    texts = path.read_text(encoding="utf-8").splitlines()
    for number, text in enumerate(texts):
        record = parse(text, f"{path.name}, line {number}")
        assert line(record) == text
        assert violations(record) == []
        assert "rows" not in record
    assert texts


@pytest.mark.parametrize("form", [EditingCell, AbilityCell, TimingCell])
def test_cells_have_all_fields_of_their_identities(form: type) -> None:
    kind = {AbilityCell: "ability", TimingCell: "timing"}.get(form)
    names = form.__required_keys__ | form.__optional_keys__  # type: ignore[attr-defined]
    assert {field.name for field in fields(KINDS[kind])} == names - {"kind"}


def test_full_records_of_every_kind_hold() -> None:
    for record in everything():
        assert problems(record) == []
        assert PLAIN.is_valid(record)


def measured() -> Record:
    """An editing record with all optional metric sets."""
    sets = json.loads(Path(__file__).with_name("measured.json").read_text("utf-8"))
    record = editing()
    record["summary"]["measures"] = sets["measures"]
    return record | {"measured": sets["measured"]}


BROKEN: dict[str, Callable[[Record], Any]] = {
    "no provenance": lambda r: r.pop("provenance"),
    "a version as text": lambda r: r.update(schema="2"),
    "another version": lambda r: r.update(schema=3),
    "a key of other letters": lambda r: r.update(key="../../etc/passwd"),
    "an unknown name": lambda r: r.update(comment="hello"),
    "an unknown kind": lambda r: r["cell"].update(kind="agility"),
    "no kind": lambda r: r["cell"].update(kind=None),
    "a cell with another field": lambda r: r["cell"].update(extra=1),
    "no dtype": lambda r: r["cell"].pop("dtype"),
    "a state that there is not": lambda r: r["status"].update(state="perfect"),
    "an editor of another family": lambda r: r["editor"].update(family="XX"),
    "a date that is no text": lambda r: r["provenance"].update(started=1),
}
PARTS: list[tuple[Callable[[], Record], Callable[[Record], Any]]] = [
    (editing, lambda r: r.pop("digest")),
    (editing, lambda r: r.pop("summary")),
    (editing, lambda r: r["rows"].clear()),
    (editing, lambda r: r["rows"][0]["items"][0].pop("after")),
    (editing, lambda r: r["rows"][0]["items"][0].update(target_ids=["1"])),
    (editing, lambda r: r["rows"][0]["items"][0].update(target_ids=[1.5])),
    (editing, lambda r: r["rows"][0]["items"][0].update(target_ids=[True])),
    (editing, lambda r: r["rows"][0]["items"][0].update(target_ids=[])),
    (editing, lambda r: r["rows"][0].update(edit_seconds=-1)),
    (editing, lambda r: r["summary"].update(samples="2")),
    (editing, lambda r: r["summary"].update(measures={})),
    (editing, lambda r: r["summary"]["scores"]["after"]["teacher_forced"]
        ["token_accuracy"].update(average=1.5)),
    (measured, lambda r: r["summary"]["measures"].update(own=1)),
    (measured, lambda r: r["summary"]["measures"]["collapse"]["alarms"].update(more=1)),
    (measured, lambda r: r["summary"]["measures"]["collapse"]["alarms"].pop("entropy")),
    (measured, lambda r: r["summary"]["measures"]["conflicts"]["stream"].update(more={"no": 1})),
    (measured, lambda r: r["measured"]["own"].update(more=1)),
    (ability, lambda r: r["rows"][0].update(score=2)),
    (ability, lambda r: r["rows"][0].update(prediction=1.5)),
    (ability, lambda r: r["summary"].pop("average")),
    (timing, lambda r: r["summary"].update(forward=None)),
    (timing, lambda r: r["rows"].append({})),
    (failure, lambda r: r["status"].pop("traceback")),
    (failure, lambda r: r.update(summary={})),
]  # fmt: skip
ALLOWED: list[tuple[Callable[[], Record], Callable[[Record], Any]]] = [
    (measured, lambda r: None),
    (editing, lambda r: r["summary"].update(samples=2.0)),  # JSON has one kind of number
    (editing, lambda r: r["rows"][0]["items"][0].update(target_ids=[1.0, 2])),
    (editing, lambda r: r["rows"][0].update(edit_seconds=1)),
    (editing, lambda r: r["provenance"].update(git=None, more={})),
    (editing, lambda r: r.pop("rows")),
    (failure, lambda r: r.update(data={}, health=[])),
]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_records_are_refused_with_few_words(name: str) -> None:
    for record in everything():
        broken = _changed(record, BROKEN[name])
        assert violations(broken), record["cell"].get("kind")
        assert all(len(sentence) < 300 for sentence in violations(broken))
        assert not PLAIN.is_valid(broken)


@pytest.mark.parametrize(
    ("make", "change", "fits"),
    [*((*case, False) for case in PARTS), *((*case, True) for case in ALLOWED)],
)
def test_parts_of_each_kind_must_be_as_published_or_what_json_and_later_versions_may_write(
    make: Callable[[], Record], change: Callable[[Record], Any], fits: bool
) -> None:
    assert violations(make()) == []
    record = _changed(make(), change)
    assert (violations(record) == [], PLAIN.is_valid(record)) == (fits, fits)


@pytest.mark.parametrize("make", [editing, ability])
def test_a_summary_must_follow_from_the_rows(make: Callable[[], Record]) -> None:
    record = make()
    assert contradiction(record) is None
    record["summary"]["items"] += 1
    assert "summary/items is" in str(contradiction(record))


def test_every_score_is_compared() -> None:
    record = editing()
    scores = record["summary"]["scores"]["after"]["prompt_only"]["exact"]
    scores["generality"] += 1e-6
    assert "scores/after/prompt_only/exact/generality" in str(contradiction(record))
    scores["generality"] -= 1e-6
    del record["summary"]["kinds"]["after"]["generated"]
    assert "kinds/after/generated" in str(contradiction(record))


def test_rows_that_no_score_follows_from_are_named() -> None:
    record = editing()
    record["rows"][0]["items"][0]["target_ids"].append(1)
    assert "ValueError" in str(contradiction(record))


def two_blocks() -> Record:
    """An editing record of four samples in two blocks."""
    record = editing(limit=4)
    first, second = record["rows"]
    others = [copy.deepcopy(row) | {"id": f"{row['id']}0", "block": 1} for row in (first, second)]
    rows = [first, second, *others]
    health = [record["health"][0] | {"block": block} for block in range(2)]
    data = record["data"] | {"samples": 4}
    return record | {"rows": rows, "health": health, "data": data, "summary": summarise(rows)}


def _same_summary(record: Record) -> Record:
    """The record with the summary of the rows that it has."""
    summary = summarise(record["rows"]) if record["cell"].get("kind") is None else None
    if record["cell"].get("kind") == "ability":
        edits = {"reliability": record["summary"]["reliability"]}
        summary = scoring.summarise(record["rows"]) | edits
    return record | ({"summary": summary} if summary else {})


def _decoded(record: Record) -> None:
    for row in record["rows"]:
        for item in row["items"]:
            for phase in ("before", "after"):
                item[phase].pop("generated")


PARTIAL: list[tuple[Callable[[], Record], Callable[[Record], Any], str]] = [
    (two_blocks, lambda r: (r["rows"].__delitem__(slice(2, None)), r["health"].pop()),
     "it has 2 rows, but its cell 4 samples"),
    (two_blocks, lambda r: r["rows"].pop(), "it has 3 rows, but its cell 4 samples"),
    (two_blocks, lambda r: r["rows"].append(r["rows"][0] | {"id": "5", "block": 2}),
     "it has 5 rows, but its cell 4 samples"),
    (two_blocks, lambda r: r["rows"].reverse(), "row 0 is not at position 0 of block 0"),
    (two_blocks, lambda r: r["rows"][2].update(block=0), "row 2 is not at position 0 of block 1"),
    (two_blocks, lambda r: r["rows"][2].update(id=r["rows"][0]["id"]),
     "two of its rows are of one sample"),
    (two_blocks, lambda r: r["health"].pop(), "its health is of 1 blocks, but its cell has 2"),
    (two_blocks, lambda r: r["health"].reverse(), "its health is of 2 blocks"),
    (two_blocks, lambda r: r["health"][1].update(diverged_at=3), "block 1 diverged after more"),
    (two_blocks, lambda r: r["data"].pop("samples"), "data has no number of samples"),
    (two_blocks, lambda r: r["rows"][1]["items"].pop(0), "row 1 has not one question about its"),
    (two_blocks, _decoded, "row 0 has other answers than its cell asks for"),
    (ability, lambda r: r["rows"].pop(0), "it has 2 questions of csqa, but its cell asks 3"),
    (ability, lambda r: r["rows"].pop(), "it has no rows of squad2"),
    (ability, lambda r: r["rows"][1].update(index=0), "it has 2 questions of csqa"),
    (ability, lambda r: r["data"].pop("questions"), "data has not the numbers of questions"),
    (ability, lambda r: r["data"]["questions"].pop("squad2"), "data has not the numbers"),
    (ability, lambda r: r["health"].clear(), "its health is of 0 blocks, but its cell has 1"),
    (timing, lambda r: r["summary"]["forward"].update(count=1), "summary/forward is over 1"),
    (timing, lambda r: r["summary"]["edit"].update(count=3), "summary/edit is over 3"),
    (timing, lambda r: r["summary"].update(edit=None), "its edits are timed without an editor"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "change", "sentence"), PARTIAL)
def test_rows_must_be_those_of_their_cell(
    make: Callable[[], Record], change: Callable[[Record], Any], sentence: str
) -> None:
    """Also where the summary follows from what is left, and the record is sealed anew."""
    assert problems(make()) == []
    (problem,) = problems(_same_summary(_changed(make(), change)))
    assert problem.startswith(sentence)


def of_the_embedded_world() -> Record:
    """An editing record of two samples that its cell draws."""
    loaded = get_dataset("zsre").load("test", data_dir())
    of: dict[str, Any] = {"dataset": "zsre", "dataset_revision": "embedded world 0"}
    record = editing(**of, dataset_digest=loaded.digest)
    answers = record["rows"][0]["items"][0]
    rows = []
    for position, sample in enumerate(Cell.from_dict(record["cell"]).drawn(loaded.samples)):
        names = ("aspect", "kind", "prompt", "target")
        asked = ({name: getattr(item, name) for name in names} for item in items_of(sample))
        items = [copy.deepcopy(answers) | item for item in asked]
        rows.append(record["rows"][position] | {"id": sample.id, "items": items})
    return record | {"rows": rows, "data": loaded.facts(), "summary": summarise(rows)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda r: [row["items"].pop() for row in r["rows"]],
            "row 0 has other questions",
        ),
        (lambda r: r["rows"][1]["items"].append(r["rows"][1]["items"][1]), "row 1 has other"),
        (lambda r: r["rows"][1]["items"][2].update(target="x"), "row 1 has other questions"),
        (lambda r: r["rows"][0]["items"][1].update(kind="x"), "row 0 has other questions"),
        (
            lambda r: r["rows"][1].update(id="zsre/test/x"),
            "row 1 is of 'zsre/test/x', but its cell",
        ),
        (
            lambda r: r["editor"].update(label="RECIPE"),
            "its editor is called 'RECIPE', but its cell",
        ),
        (lambda r: r["health"][0].update(effect=-1.0), "block 0 has an effect of -1.0"),
        (lambda r: r["health"][0].update(diverged_at=1), "block 0 has an effect of "),
    ],
)
def test_rows_are_those_of_a_data_set_that_is_at_hand(
    change: Callable[[Record], Any], sentence: str
) -> None:
    assert problems(of_the_embedded_world()) == []
    (problem,) = problems(_same_summary(_changed(of_the_embedded_world(), change)))
    assert problem.startswith(sentence)


def test_a_number_beyond_all_bounds_is_refused() -> None:
    for name in ("inf", "nan"):
        record: Any = editing()
        record["rows"][0]["edit_seconds"] = float(name)
        assert "rows/0/edit_seconds" in problems(record)[0]


def _changed(record: Record, change: Callable[[Record], Any]) -> Record:
    changed = copy.deepcopy(record)
    change(changed)
    return changed

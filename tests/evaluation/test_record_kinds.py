"""Identities of all kinds of record: every field counts, and records give them back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from bench.core.cells import canonical
from bench.evaluation.record_kinds import KINDS, AbilityCell, EditStream, identity_of
from bench.store import results
from bench.store.results import ResultStore
from tests.core.test_cells import CELL as EDITING
from tests.evaluation.test_timing import cell as timing_cell

STREAM = EditStream(
    dataset="zsre",
    dataset_revision="embedded world 0",
    dataset_digest="d" * 40,
    editor="ft",
    editor_version=1,
    hparams={"lr": 5e-4, "layers": (1, 2)},
    inputs={"corpus": "c" * 64},
    n_edits=100,
    seed=0,
)
CELL = AbilityCell(
    backbone="mini-llama",
    backbone_digest="b" * 64,
    dtype="float32",
    edits=STREAM,
    harness="ours",
    scoring="paper",
    wording="version 1",
    task_limit=None,
    tasks={"csqa": "1" * 64, "mmlu": "2" * 64},
    protocol_version=1,
)
UNEDITED = dataclasses.replace(CELL, edits=None)
# Changes only with the set of fields or their form; records of before are then of another schema.
GOLDEN = "cabdb0b70465bf0b0d6fdb22f8adf189bd05d9cb62bc8e29978b842105e8636f"
ALL = (CELL, UNEDITED, EDITING, timing_cell("recipe"), timing_cell("ft", device="cuda"))


@pytest.mark.parametrize("cell", ALL)
def test_a_record_gives_its_identity_back_by_its_kind(cell: Any) -> None:
    again = identity_of(json.loads(canonical(cell.to_dict())))
    assert type(again) is type(cell)
    assert again == cell
    assert again.key() == cell.key()


def test_the_first_kind_has_no_name_in_its_records_and_the_others_have_one() -> None:
    assert "kind" not in EDITING.to_dict()
    assert CELL.to_dict()["kind"] == "ability"
    assert CELL.key() == GOLDEN
    assert all(cls.kind == kind for kind, cls in KINDS.items())


OTHERS = {"edits": None, "scoring": "lm-eval", "task_limit": 10}


@pytest.mark.parametrize("of", [CELL, STREAM, ALL[-1]])
def test_every_field_is_part_of_the_key(of: Any) -> None:
    for field in dataclasses.fields(of):
        old = getattr(of, field.name)
        new = {"x": "y"} if isinstance(old, dict) else old + 1 if isinstance(old, int) else "other"
        changed = dataclasses.replace(of, **{field.name: OTHERS.get(field.name, new)})
        if of is STREAM:
            changed = dataclasses.replace(CELL, edits=changed)
        assert changed.key() != (CELL if of is STREAM else of).key(), field.name


@pytest.mark.parametrize(
    ("of", "change", "sentence"),
    [
        (CELL, {"task_limit": 0}, "task limit .* got 0"),
        (CELL, {"scoring": "papr"}, "'papr'. Did you mean 'paper'"),
        (STREAM, {"n_edits": 0}, "number of edits .* got 0"),
    ],
)
def test_impossible_cells_are_refused(of: Any, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(of, **change)


def test_one_store_holds_records_of_all_kinds(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for cell in ALL:
        store.write(results.complete(cell, {}, {}, {"summary": {}}))
    assert {record["key"] for record in store.records()} == {cell.key() for cell in ALL}
    assert all(store.lookup(cell) is not None for cell in ALL)


def test_a_record_of_an_unknown_kind_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ResultStore(tmp_path).write(results.complete(CELL, {}, {}, {}))
    path.write_text(path.read_text().replace('"kind":"ability"', '"kind":"agility"'))
    assert ResultStore(tmp_path).lookup(CELL) is None
    assert f"{path} is no result record" in capsys.readouterr().err

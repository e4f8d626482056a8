from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from bench.core.cells import Cell

CELL = Cell(
    backbone="mini-llama",
    backbone_digest="b" * 64,
    dtype="float32",
    dataset="zsre",
    dataset_revision="embedded world 0",
    dataset_digest="d" * 40,
    editor="ft",
    editor_version=1,
    hparams={"lr": 5e-4, "layers": (1, 2), "objective": "prompt_last", "norm": None},
    inputs={"corpus": "c" * 64},
    n_edits=10,
    seed=0,
    limit=50,
    metric_version=1,
    generation="context_free",
)
# Changes only with the set of fields or their form; records of before are then of another schema.
GOLDEN = "08a17f5b8ddcb1587a7bd26ee03707b60c58abe939d01d6d789ac0a45ba7a9b9"


def test_key_is_stable() -> None:
    assert CELL.key() == GOLDEN


def test_canonical_json_has_sorted_names_and_no_white_space() -> None:
    text = CELL.canonical()
    assert " " not in text.replace("embedded world 0", "")
    names = sorted(field.name for field in dataclasses.fields(Cell))
    assert list(json.loads(text)) == [name for name in names if name != "measures"]
    measured = dataclasses.replace(CELL, measures={"retention": "v1"})
    assert list(json.loads(measured.canonical())) == names


def test_a_record_gives_the_cell_back() -> None:
    again = Cell.from_dict(json.loads(CELL.canonical()))
    assert again == CELL
    assert again.key() == CELL.key()


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "gpt2-xl"},
        {"backbone_digest": "0"},
        {"dtype": "bfloat16"},
        {"dataset": "counterfact"},
        {"dataset_revision": "other"},
        {"dataset_digest": "0"},
        {"editor": "rome"},
        {"editor_version": 2},
        {"hparams": {"lr": 1e-3}},
        {"inputs": {}},
        {"n_edits": 50},
        {"batch_per_step": 2},
        {"seed": 1},
        {"varies": "training"},
        {"limit": None},
        {"protocol": "stream"},
        {"scoring_time": "after_each"},
        {"metric_version": 2},
        {"generation": "none"},
        {"measures": {"retention": "v1"}},
    ],
)
def test_every_field_is_part_of_the_key(change: dict[str, Any]) -> None:
    assert dataclasses.replace(CELL, **change).key() != CELL.key()


def test_the_changes_above_cover_every_field() -> None:
    (mark,) = test_every_field_is_part_of_the_key.pytestmark
    assert {name for change in mark.args[1] for name in change} == {*CELL.to_dict(), "measures"}


def test_key_does_not_depend_on_the_order_of_hyper_parameters() -> None:
    turned = dict(sorted(CELL.hparams.items(), reverse=True))
    assert dataclasses.replace(CELL, hparams=turned).key() == CELL.key()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n_edits": 0}, "number of edits must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"limit": 9}, "a limit of 9 for 10 edits"),
        ({"hparams": {"lr": float("nan")}}, "not JSON compliant"),
    ],
)
def test_impossible_cells_are_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        dataclasses.replace(CELL, **change)

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from bench.core.cells import Cell, CellKey, canonical, check_one_way, joined, of_protocol

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
    text = canonical(CELL.to_dict())
    assert " " not in text.replace("embedded world 0", "")
    names = sorted(field.name for field in dataclasses.fields(Cell))
    assert list(json.loads(text)) == [n for n in names if n not in ("measures", "part")]
    measured = dataclasses.replace(CELL, part=2, measures={"retention": "v1"})
    assert list(json.loads(canonical(measured.to_dict()))) == names


def test_a_record_gives_the_cell_back() -> None:
    again = Cell.from_dict(json.loads(canonical(CELL.to_dict())))
    assert again == CELL
    assert again.key() == CELL.key()


OTHERS: dict[str, Any] = {
    "backbone": "gpt2-xl",
    "backbone_digest": "0",
    "dtype": "bfloat16",
    "dataset": "counterfact",
    "dataset_revision": "other",
    "dataset_digest": "0",
    "editor": "rome",
    "editor_version": 2,
    "hparams": {"lr": 1e-3},
    "inputs": {},
    "n_edits": 50,
    "batch_per_step": 2,
    "seed": 1,
    "varies": "training",
    "part": 1,
    "limit": None,
    "protocol": "stream",
    "scoring_time": "after_each",
    "metric_version": 2,
    "generation": "none",
    "measures": {"retention": "v1"},
}


def test_every_field_is_part_of_the_key() -> None:
    assert OTHERS.keys() == {field.name for field in dataclasses.fields(Cell)}
    changed: list[Any] = [dataclasses.replace(CELL, **{n: v}) for n, v in OTHERS.items()]
    assert len({cell.key() for cell in [CELL, *changed]}) == len(OTHERS) + 1


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


@pytest.mark.parametrize(
    ("change", "protocol"),
    [
        ({"metric_version": 2}, "zsre/blocks/v2"),
        ({"protocol": "single"}, "zsre/single/v1"),
        ({"scoring_time": "edit_end"}, "zsre/blocks+scoring_time=edit_end/v1"),
        ({"batch_per_step": 10}, "zsre/blocks+batch_per_step=10/v1"),
        ({"varies": "training"}, "zsre/blocks+varies=training/v1"),
        ({"generation": "context_guided"}, "zsre/blocks+context_guided/v1"),
        ({"seed": 5, "n_edits": 3, "limit": None, "generation": "none"}, "zsre/blocks/v1"),
    ],
)
def test_the_id_of_a_protocol_names_its_departures(change: dict[str, Any], protocol: str) -> None:
    assert CELL.protocol_id == "zsre/blocks/v1"
    assert dataclasses.replace(CELL, **change).protocol_id == protocol


def test_cells_of_a_protocol_are_chosen_with_a_data_set_and_without() -> None:
    for wanted in ("zsre/blocks/v1", "blocks/v1"):
        assert of_protocol([CELL], wanted) == [CELL]
    for wanted in ("counterfact/blocks/v1", "v1", "blocks/v3"):
        with pytest.raises(ValueError, match=rf"'{wanted}'\. Available: zsre/blocks/v1"):
            of_protocol([CELL], wanted)
    other = dataclasses.replace(CELL, dataset="counterfact")
    check_one_way([CELL, other])
    assert joined([CELL, other, CELL]) == "zsre+counterfact/blocks/v1"
    newer = dataclasses.replace(CELL, metric_version=2)
    with pytest.raises(ValueError, match="zsre/blocks/v1, zsre/blocks/v2"):
        joined([CELL, newer])


def test_the_names_of_a_cell_are_its_own_or_those_of_its_edits() -> None:
    key = CellKey("mini-llama", "ft", "zsre", 10, 0)
    cell = CELL.to_dict()
    assert CellKey.of(cell) == key
    assert CellKey.of({"backbone": "mini-llama", "edits": cell}) == key
    unedited = CellKey("mini-llama", None, None, None, None)
    assert CellKey.of({"backbone": "mini-llama", "edits": None}) == unedited

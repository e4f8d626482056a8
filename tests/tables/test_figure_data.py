"""Records to draw from: which are read, and which a figure may show together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.store.results import ResultStore, failed, sealed
from bench.tables.figure_data import changes, common_edits, comparable, read_records
from tests.core.test_cells import CELL
from tests.evaluation.test_timing import cell as timing_cell
from tests.evaluation.test_timing import record as timing_record
from tests.store.test_reference import ROWS, full
from tests.support.records import PROVENANCE, record, write_lines


def test_the_order_is_that_of_tables() -> None:
    records = [
        record(editor, dataset, n_edits, seed=seed)
        for editor in ("recipe", "ft")
        for dataset in ("counterfact", "zsre")
        for n_edits in (10, 1)
        for seed in (1, 0)
    ]
    cells = comparable(records, "mini-llama").cells
    assert [(c.n_edits, c.editor, c.dataset, c.seed) for c in cells] == [
        (n_edits, editor, dataset, seed)
        for n_edits in (1, 10)
        for editor in ("ft", "recipe")
        for dataset in ("zsre", "counterfact")
        for seed in (0, 1)
    ]


def test_changed_hyper_parameters_are_left_out_unless_free() -> None:
    records = [record("recipe"), record("recipe", hparams={"prompt_length": 5})]
    assert len(comparable(records, "mini-llama").records) == 1
    assert len(comparable(records, "mini-llama", free=["prompt_length"]).records) == 2
    words = record("recipe", hparams={"prompts": "words"})
    assert len(comparable([*records, words], "mini-llama", free=["prompt_length"]).records) == 2


def test_what_a_record_lacks_is_a_default_and_what_it_has_more_is_a_change() -> None:
    cell = comparable([record("recipe")], "mini-llama").cells[0]
    assert changes(cell) == frozenset()
    hparams = dict(cell.hparams)
    del hparams["gate"]  # came later than some records
    object.__setattr__(cell, "hparams", hparams)
    assert changes(cell) == frozenset()
    object.__setattr__(cell, "hparams", hparams | {"of_old": 1})
    assert changes(cell) == {"of_old"}


def test_the_same_cell_with_and_without_generation_counts_once() -> None:
    records = [record(), record(generation="none")]
    assert len(comparable(records, "mini-llama").records) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dtype": "bfloat16"}, "differ in dtype "),
        ({"dataset_digest": "e" * 40}, "differ in dataset_digest at dataset zsre"),
        ({"editor_version": 2}, "differ in editor_version at editor ft"),
        ({"metric_version": 2}, "2 protocols, .*: zsre/blocks/v1, zsre/blocks/v2; choose"),
        ({"generation": "context_guided"}, r"zsre/blocks\+context_guided/v1, zsre/blocks/v1"),
        ({"backbone_digest": "0" * 64}, "differ in backbone_digest "),
    ],
)
def test_records_that_were_measured_otherwise_are_refused(
    change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        comparable([record(), record(seed=1, **change)], "mini-llama")


def test_other_backbones_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"on gpt2-xl with .* Backbones of the records: mini-llama"
    ):
        comparable([record()], "gpt2-xl")


def test_the_most_edits_that_all_editors_have() -> None:
    cells = comparable([record("ft", n_edits=n) for n in (1, 10, 100)], "mini-llama").cells
    assert common_edits(cells) == 100
    more = comparable([record("rome", n_edits=n) for n in (1, 10)], "mini-llama").cells
    assert common_edits([*cells, *more]) == 10
    single = comparable([record("rome", n_edits=1000)], "mini-llama").cells
    assert common_edits([*cells, *single]) == 1000


def test_a_store_of_full_records_is_read_compact(tmp_path: Path) -> None:
    ResultStore(tmp_path).write(full(ROWS, 3))
    (compact,) = read_records(tmp_path)
    assert "rows" not in compact
    assert compact["edit_seconds"] == [0.5, 1.0, 1.5]


def test_lines_are_read_once_per_cell_and_other_kinds_left_out(tmp_path: Path) -> None:
    ft, rome = record("ft"), record("rome")
    write_lines(tmp_path / "a.jsonl", [ft, rome, timing_record(timing_cell("recipe"))])
    write_lines(tmp_path / "b.jsonl", [rome])
    keys = [record["key"] for record in read_records(tmp_path)]
    assert keys == sorted([ft["key"], rome["key"]])


def test_failed_cells_are_left_out(tmp_path: Path) -> None:
    error = failed(CELL, {"label": "FT"}, PROVENANCE, RuntimeError("no"))
    write_lines(tmp_path / "a.jsonl", [error])
    with pytest.raises(ValueError, match="No complete record of an editing run"):
        read_records(tmp_path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"cell"', "is no result record"),
        ("[1]", "is no result record"),
        ('{"status": {}, "cell": {"n_edits": 1}}', "is no result record"),
        (json.dumps(sealed(record("rome") | {"key": "0" * 64})), "holds another cell"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps(sealed(record())) + "\n" + text + "\n")
    with pytest.raises(ValueError, match=rf"a\.jsonl, line 2 {fault}"):
        read_records(tmp_path)

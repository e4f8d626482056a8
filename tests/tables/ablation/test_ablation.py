"""Table 4 from records: means over data sets, by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bench.core.cells import Cell
from bench.core.grids import ABLATIONS, Selection, ablation_of, get_table, variant
from bench.core.names import CONTROL
from bench.runner.planning import points
from bench.store.results import Record
from bench.tables.ablation.layout import by_part, to_csv
from bench.tables.ablation.tabulate import tabulate
from bench.tables.columns import MAIN, SHOWN
from bench.tables.layout import TextTable
from tests.tables.test_render import cell, record

TABLE = get_table(4)
SETS = ("zsre", "counterfact")


def recipe(dataset: str, seed: int = 0, **changes: Any) -> Cell:
    hparams = {"prompts": "continuous", "gate": "sentinel"} | changes
    of = cell("recipe", dataset, 1, seed)
    return dataclasses.replace(of, hparams=hparams, n_edits=100, limit=100)


def made(of: Cell, score: float, before: float) -> Record:
    one = record(of, rel=score, gen=score, loc=1.0)
    unedited = {"reliability": before, "generality": before, "locality": 1.0, "average": 0.5}
    one["summary"]["scores"]["before"] = {"teacher_forced": {"token_accuracy": unedited}}
    return one


def rows(cells: list[Cell], records: list[Record]) -> dict[str, dict[str, str]]:
    text = text_of(cells, records)
    return {row[1]: dict(zip(text.columns, row, strict=True)) for row in text.rows}


def text_of(cells: list[Cell], records: list[Record]) -> TextTable:
    return by_part(tabulate(TABLE, cells, records, SHOWN[MAIN]))


def test_the_grid_has_recipe_and_its_three_ablations() -> None:
    found = points(TABLE, Selection(datasets=("cf",), edits=(100,)))
    of_main = [point.variant for point in found if point.backbone == "mini-llama"]
    assert of_main == [None, "no-cpt", "no-ks", "no-cpt-no-ks"]
    assert {point.editor for point in found} == {"recipe"}


def test_a_row_is_the_mean_over_the_data_sets() -> None:
    cells = [recipe(name) for name in SETS]
    cells += [recipe(name, **ABLATIONS[1].hparams) for name in SETS]
    scores = (0.9, 0.7, 0.5, 0.4)
    found = rows(cells, [made(of, s, 0.1) for of, s in zip(cells, scores, strict=True)])
    column = "mean over ZSRE, CF Rel"
    assert found["RECIPE"][column] == "80.00 (97.29)"
    assert found["- KS"][column] == "45.00 (95.55)"
    assert found["- CPT"][column] == "- (27.42)"
    assert found["unedited"][column] == "10.00 (27.30)"


def test_a_seed_without_one_of_the_data_sets_does_not_count() -> None:
    cells = [recipe(name, seed) for seed in (0, 1) for name in SETS]
    done = [made(of, 0.2 + of.seed / 2, 0.0) for of in cells[:3]]
    assert rows(cells, done)["RECIPE"]["mean over ZSRE, CF Rel"] == "20.00 (97.29)"


def test_the_control_backbone_has_rows_of_its_own() -> None:
    chosen = points(TABLE, Selection(datasets=("cf",), edits=(100,)))
    assert [p.variant for p in chosen if p.backbone == CONTROL] == [None, "no-cpt"]
    cells = [recipe(name) for name in SETS]
    cells += [dataclasses.replace(of, backbone=CONTROL) for of in cells]
    scores = (0.5, 0.5, 0.9, 0.9)
    done = [made(of, s, 0.2) for of, s in zip(cells, scores, strict=True)]
    text = text_of(list(reversed(cells)), done)
    labels = [row[1] for row in text.rows]
    assert labels[5:] == ["unedited (control)", "RECIPE (control)", "- CPT (control)"]
    assert [row[2].split()[0] for row in text.rows][1::5] == ["50.00", "90.00"]
    assert {labels[row] for row, _ in text.best} <= {"RECIPE"}
    assert any("mini-llama" in line and CONTROL not in line for line in text.caption)


def test_another_backbone_has_no_control() -> None:
    other = points(TABLE, Selection(backbone="somewhere/else", datasets=("cf",), edits=(100,)))
    assert {point.backbone for point in other} == {"somewhere/else"}


def test_the_unedited_model_is_never_best() -> None:
    cells = [recipe(name, **one) for one in ({}, ABLATIONS[0].hparams) for name in SETS]
    done = [made(of, 0.2, 0.9) for of in cells]
    assert {row for row, _ in text_of(cells, done).best} == {1, 2}


def test_csv_holds_both_numbers() -> None:
    cells = [recipe(name) for name in SETS]
    text = to_csv(tabulate(TABLE, cells, [made(of, 0.5, 0.1) for of in cells], SHOWN[MAIN]))
    row = "4,mini-llama,100,,RECIPE,MEAN3,Rel,50.00,,1,LLAMA-2-7B,97.29,,"
    assert f"{row},zsre+counterfact/blocks/v1" in text.splitlines()


@pytest.mark.parametrize("one", ABLATIONS)
def test_an_ablation_is_known_by_its_hyper_parameters(one: Any) -> None:
    whole = {"prompts": "continuous", "gate": "sentinel", "prompt_length": 3}
    assert ablation_of(whole) is None
    assert ablation_of(whole | one.hparams) == one
    assert variant(one.key.upper()) == one


def test_prompt_lengths_are_variants() -> None:
    assert variant("cpt=5").hparams == {"prompt_length": 5}
    assert variant("cpt=1").label == "RECIPE, 1 CPT"
    with pytest.raises(ValueError, match="Unknown variant 'cpt=x'"):
        variant("cpt=x")

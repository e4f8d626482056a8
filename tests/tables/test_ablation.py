"""Table 4 from records, with means by hand; the control backbone, and a table without it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench.core.cells import Cell
from bench.core.config import RunConfig
from bench.core.grids import ABLATIONS, ablation_of, get_table, variant
from bench.core.names import CONTROL, MODELS
from bench.models.backbones import locate
from bench.runner.planning import plan, points
from bench.store.results import Record
from bench.tables import view
from bench.tables.render import to_csv
from bench.world.corpus import KINDS, Corpus
from bench.world.store import NotBuiltError, assets_dir, cache_root
from bench.world.world import World
from editors import registry
from tests.support.records import cell, scored_record

TABLE = get_table(4)
SETS = ("zsre", "counterfact")


def recipe(dataset: str, seed: int = 0, **changes: Any) -> Cell:
    hparams = {"prompts": "continuous", "gate": "sentinel"} | changes
    of = cell("recipe", dataset, 1, seed)
    return dataclasses.replace(of, hparams=hparams, n_edits=100, limit=100)


def scored(of: Cell, score: float, before: float) -> Record:
    after = scored_record(of, rel=score, gen=score, loc=1.0)
    unedited = {"reliability": before, "generality": before, "locality": 1.0, "average": 0.5}
    after["summary"]["scores"]["before"] = {"teacher_forced": {"token_accuracy": unedited}}
    return after


def rels(cells: list[Cell], records: list[Record]) -> dict[str, str]:
    """The text of Rel by the label of its row."""
    return {row[1]: row[2] for row in view(TABLE, cells, records).text.rows}


def test_the_grid_has_recipe_and_its_three_ablations() -> None:
    grid = points(RunConfig(table=4, datasets=("cf",), edits=(100,)))
    of_main = [point.variant for point in grid if point.backbone == "mini-llama"]
    assert of_main == [None, "no-cpt", "no-ks", "no-cpt-no-ks"]
    assert {point.editor for point in grid} == {"recipe"}


def test_a_row_is_the_mean_over_the_data_sets() -> None:
    cells = [recipe(name) for name in SETS]
    cells += [recipe(name, **ABLATIONS[1].hparams) for name in SETS]
    scores = (0.9, 0.7, 0.5, 0.4)
    done = [scored(of, s, 0.1) for of, s in zip(cells, scores, strict=True)]
    assert rels(cells, done) == {
        "unedited": "10.00 (27.30)", "RECIPE": "80.00 (97.29)", "- CPT": "- (27.42)",
        "- KS": "45.00 (95.55)", "- BOTH": "- (27.41)",
    }  # fmt: skip
    assert view(TABLE, cells, done).text.columns[2] == "mean over ZSRE, CF Rel"


def test_a_seed_without_one_of_the_data_sets_does_not_count() -> None:
    cells = [recipe(name, seed) for seed in (0, 1) for name in SETS]
    done = [scored(of, 0.2 + of.seed / 2, 0.0) for of in cells[:3]]
    assert rels(cells, done)["RECIPE"] == "20.00 (97.29)"


def test_the_control_backbone_has_rows_of_its_own() -> None:
    chosen = points(RunConfig(table=4, datasets=("cf",), edits=(100,)))
    assert [p.variant for p in chosen if p.backbone == CONTROL] == [None, "no-cpt"]
    cells = [recipe(name) for name in SETS]
    cells += [dataclasses.replace(of, backbone=CONTROL) for of in cells]
    scores = (0.5, 0.5, 0.9, 0.9)
    done = [scored(of, s, 0.2) for of, s in zip(cells, scores, strict=True)]
    text = view(TABLE, list(reversed(cells)), done).text
    labels = [row[1] for row in text.rows]
    assert labels[5:] == ["unedited (control)", "RECIPE (control)", "- CPT (control)"]
    assert [row[2].split()[0] for row in text.rows][1::5] == ["50.00", "90.00"]
    assert {labels[row] for row, _ in text.best} <= {"RECIPE"}
    assert any("mini-llama" in line and CONTROL not in line for line in text.caption)


def test_another_backbone_has_no_control() -> None:
    other = points(RunConfig(table=4, backbone="somewhere/else", datasets=("cf",), edits=(100,)))
    assert {point.backbone for point in other} == {"somewhere/else"}


def test_the_unedited_model_is_never_best() -> None:
    cells = [recipe(name, **changes) for changes in ({}, ABLATIONS[0].hparams) for name in SETS]
    done = [scored(of, 0.2, 0.9) for of in cells]
    assert {row for row, _ in view(TABLE, cells, done).text.best} == {1, 2}


def test_csv_holds_both_numbers() -> None:
    cells = [recipe(name) for name in SETS]
    text = to_csv(view(TABLE, cells, [scored(of, 0.5, 0.1) for of in cells]))
    row = "4,mini-llama,100,,RECIPE,MEAN3,Rel,50.00,,1,LLAMA-2-7B,97.29,,"
    assert f"{row},zsre+counterfact/blocks/v1" in text.splitlines()


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_an_ablation_is_known_by_its_hyper_parameters(ablation: Any) -> None:
    whole = {"prompts": "continuous", "gate": "sentinel", "prompt_length": 3}
    assert ablation_of(whole) is None
    assert ablation_of(whole | ablation.hparams) == ablation
    assert variant(ablation.key.upper()) == ablation


def test_prompt_lengths_are_variants() -> None:
    assert variant("cpt=5").hparams == {"prompt_length": 5}
    assert variant("cpt=1").label == "RECIPE, 1 CPT"
    with pytest.raises(ValueError, match="cpt=x"):
        variant("cpt=x")


def test_the_control_is_not_shipped_and_left_out_unless_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path))
    assert CONTROL not in MODELS
    assert assets_dir(0, CONTROL).is_relative_to(cache_root())
    with pytest.raises(NotBuiltError, match=f"world build --seed 0 --models {CONTROL}"):
        locate(CONTROL)
    planned = plan(RunConfig(table=4, datasets=("cf",), edits=(100,)))
    assert {job.cell.backbone for job in planned.jobs} == {"mini-llama"}
    assert any("world build" in reason for reason in planned.left_out)
    with pytest.raises(NotBuiltError):
        plan(RunConfig(table=4, backbone=CONTROL, datasets=("cf",), edits=(100,)))


def test_it_reads_no_document_with_an_answer_in_its_context() -> None:
    corpus = Corpus(World(0), context_reading=False)
    assert set(corpus.shares) == {"fact", "opening", "linked"}
    assert set(Corpus(World(0)).shares) == set(KINDS)


def test_it_has_the_presets_of_the_backbone_it_is_compared_with() -> None:
    for editor in registry.available():
        assert registry.hparams_for(editor, CONTROL) == registry.hparams_for(editor, "mini-llama")

"""Hours of a plan: published seconds, recorded ones, and operations counted by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench.core.names import recent_labels
from bench.runner.costs.estimate import HOUR
from bench.runner.costs.hours import TERAFLOPS
from bench.runner.costs.sizes import encoder_shape, shape_of_backbone
from bench.store.reference import reference_records
from editors import registry
from editors.alphaedit import AlphaEditHparams
from editors.base import Hparams
from editors.ike import IkeEditor, IkeHparams
from editors.parts.needs import Setting
from editors.parts.wise.hparams import WiseHparams
from editors.rag import RagHparams
from editors.ultraedit import UltraEditHparams
from tests.runner.costs.test_plan import planned, row

PARAMETERS = 6_738_415_616  # of LLaMA-2-7B


def large(**changes: Any) -> Setting:
    setting = Setting(
        shape=shape_of_backbone("llama-2-7b"),
        encoder=encoder_shape(None, hub=True),
        dtype="float32",
        singles=False,
    )
    return dataclasses.replace(setting, **changes)


def test_the_papers_seconds_are_multiplied(tmp_path: Path) -> None:
    words = ("--preset", "paper", "--editors", "ft,recipe", "--datasets", "cf", "--edits", "1000")
    plan = planned(tmp_path, *words, "--limit", "2500", "--n-seeds", "3")
    ft = row(plan, "FT")
    assert (ft["cells"], ft["edits"]) == (3, 3 * 2_000)  # the tail of 500 is dropped
    assert ft["editing_hours"] == pytest.approx(6_000 * 1.7205 / HOUR)
    assert ft["asking_hours"] == pytest.approx(6_000 * 3 * 2 * 0.0589 / HOUR)
    recipe = row(plan, "RECIPE")
    assert recipe["asking_hours"] == pytest.approx(6_000 * 3 * 3 * 0.0598 / HOUR)
    assert row(plan, "unedited")["asking_hours"] == pytest.approx(2_500 * 3 * 2 * 0.0586 / HOUR)


def test_another_backbone_takes_as_much_longer_as_it_is_larger(tmp_path: Path) -> None:
    words = ("--preset", "paper", "--editors", "rome", "--edits", "10", "--limit", "10")
    llama = row(planned(tmp_path, *words), "ROME")
    small = row(planned(tmp_path, "--table", "6", *words), "ROME")
    ratio = 1_557_611_200 / PARAMETERS
    assert small["editing_hours"] == pytest.approx(ratio * llama["editing_hours"])


def test_recorded_seconds_of_a_miniature_backbone(tmp_path: Path) -> None:
    words = ("--editors", "ft", "--datasets", "zsre", "--edits", "100", "--n-seeds", "5")
    wanted = sum(
        record["provenance"]["seconds"]["edit"]
        for record in reference_records("table1")
        if (record["cell"]["editor"], record["cell"]["dataset"], record["cell"]["n_edits"])
        == ("ft", "zsre", 100)
    )
    plan = planned(tmp_path, *words)
    assert row(plan, "FT")["editing_hours"] * HOUR == pytest.approx(wanted)


def test_a_backbone_without_records_takes_those_of_mini_llama(tmp_path: Path) -> None:
    words = ("--editors", "rag", "--datasets", "cf", "--edits", "10")
    here = row(planned(tmp_path, *words), "RAG")
    there = row(planned(tmp_path, "--table", "6", *words), "RAG")
    sizes = [shape_of_backbone(name).parameters for name in ("mini-gpt2", "mini-llama")]
    ratio = sizes[0] / sizes[1]
    assert there["editing_hours"] == pytest.approx(ratio * here["editing_hours"])
    assert there["asking_hours"] == pytest.approx(ratio * here["asking_hours"])


def test_table_2_counts_its_questions(tmp_path: Path) -> None:
    words = ("--table", "2", "--preset", "paper", "--editors", "ft")
    whole = row(planned(tmp_path, *words), "FT")["asking_hours"]
    assert whole == pytest.approx(30_336 * 0.0589 / HOUR)
    few = row(planned(tmp_path, *words, "--task-limit", "100"), "FT")["asking_hours"]
    assert few == pytest.approx(400 * 0.0589 / HOUR)


def test_trainings_are_counted_once_for_each_data_set(tmp_path: Path) -> None:
    words = ("--preset", "paper", "--editors", "lte", "--edits", "1", "--limit", "1")
    single = row(planned(tmp_path, *words, "--datasets", "cf"), "LTE")
    three = row(planned(tmp_path, *words), "LTE")
    assert three["training_hours"] == pytest.approx(3 * single["training_hours"])
    faster = row(planned(tmp_path, *words, "--datasets", "cf", "--tflops", "20"), "LTE")
    assert faster["training_hours"] == pytest.approx(single["training_hours"] / 2)
    # 10,000 iterations of 8 x 32 tokens; 4 rows at 6 N and 2 at 2 N operations; 10 TFLOP/s
    wanted = 10_000 * 8 * 32 * 28 * PARAMETERS / 1e13
    assert single["training_hours"] * HOUR == pytest.approx(wanted)


def test_shipped_weights_need_no_training(tmp_path: Path) -> None:
    words = ("--editors", "recipe")
    assert row(planned(tmp_path, *words), "RECIPE")["training_hours"] == 0
    for other in (("--world-seed", "2"), ("--hparam", "recipe.prompt_length=5")):
        assert row(planned(tmp_path, *words, *other), "RECIPE")["training_hours"] > 0


def operations(editor: str, hparams: Hparams, **changes: Any) -> float:
    needs = registry.editor_class(editor).needs(hparams, large(**changes))
    assert needs is not None
    assert needs.edit_operations is not None
    return needs.edit_operations


def test_alphaedits_time_grows_with_its_keys() -> None:
    hparams = AlphaEditHparams(layers=(0, 1))
    few, many = (operations("alphaedit", hparams, edits=edits) for edits in (3, 300))
    gram = 2 * 11_008 * (300 * 300 - 3 * 3) / 3
    assert many - few == pytest.approx(2 * gram)
    # 25 steps of seven rows of 40 tokens through 31 of 32 blocks, forward and back
    assert few == pytest.approx(25 * 7 * 40 * 4 * PARAMETERS * 31 / 32, rel=1e-3)


@pytest.mark.parametrize(
    ("editor", "hparams", "wanted"),
    [
        # all iterations, through the last five of 32 blocks
        ("wise", WiseHparams(layer=27), 70 * 12 * 40 * 4 * PARAMETERS * 5 / 32),
        # a forward, and a backward through the last three blocks
        ("ultraedit", UltraEditHparams(layers=(29,)), 40 * PARAMETERS * (2 + 2 * 3 / 32)),
        # one question encoded
        ("rag", RagHparams(), 40 * 2 * encoder_shape(None, hub=True).parameters),
    ],
)
def test_operations_of_an_edit(editor: str, hparams: Hparams, wanted: float) -> None:
    assert operations(editor, hparams) == pytest.approx(wanted)


def test_ikes_demonstrations_are_read_with_every_question(tmp_path: Path) -> None:
    assert IkeEditor.needs(IkeHparams(), large()).prefix == 32 * 35 + 30
    short = dataclasses.replace(large().shape, context=1_024)
    assert IkeEditor.needs(IkeHparams(), large(shape=short)).prefix == 1_024 - 128
    words = ("--preset", "paper", "--datasets", "cf", "--edits", "10", "--limit", "100")
    plan = planned(tmp_path, *words, "--editors", "ike,rag")
    longer = (row(plan, "IKE")["asking_hours"] - row(plan, "RAG")["asking_hours"]) * HOUR
    inferences = 100 * 3 * 3  # forced, greedy, and by the prompt alone
    wanted = inferences * 2 * PARAMETERS * 32 * 35
    assert longer == pytest.approx(wanted / (1e12 * TERAFLOPS["float32"]))


def test_every_editor_of_a_later_paper_is_known() -> None:
    for label in recent_labels():
        assert operations(label, registry.hparams_for(label, "llama-2-7b")) > 0

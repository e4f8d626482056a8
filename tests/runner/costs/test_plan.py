"""`python -m bench plan`: rows, hours, fits, files; nothing is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.core.grids import GridPoint, Selection, get_table
from bench.core.names import editor_keys
from bench.runner.costs.estimate import HOUR, Request, estimate, totals
from bench.runner.costs.gpus import GIB, Memory, memory_at_hand
from bench.runner.costs.layout import layout
from bench.runner.planning import Settings, points
from bench.store.reference import reference_records
from editors import registry
from editors.base import Editor
from editors.ft import FtEditor


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was loaded")

    for loader in (AutoModelForCausalLM, AutoTokenizer):
        monkeypatch.setattr(loader, "from_pretrained", refuse)


def planned(tmp_path: Path, *words: str) -> dict[str, Any]:
    file = tmp_path / "plan.json"
    assert main(["plan", *words, "--json", str(file), "--gpu-memory", "40"]) == 0
    value: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return value


def row(plan: dict[str, Any], editor: str) -> dict[str, Any]:
    (found,) = (one for one in plan["rows"] if one["editor"] == editor)
    return dict(found)


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("preset", ["paper", "embedded"])
def test_every_table_is_planned(number: int, preset: str, tmp_path: Path) -> None:
    plan = planned(tmp_path, "--table", str(number), "--preset", preset)
    table = get_table(number)
    selection = Selection(preset="paper" if preset == "paper" else "embedded")
    unedited = 1 if table.measures in ("general_ability", "times") else 0
    assert plan["total"]["cells"] == len(points(table, selection)) + unedited
    assert plan["total"]["hours"] > 0
    assert all(one["known"] and one["hours"] is not None for one in plan["rows"])


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
    ratio = 1_557_611_200 / 6_738_415_616
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


def test_trainings_are_counted_once_for_each_data_set(tmp_path: Path) -> None:
    words = ("--preset", "paper", "--editors", "lte", "--edits", "1", "--limit", "1")
    one = row(planned(tmp_path, *words, "--datasets", "cf"), "LTE")
    three = row(planned(tmp_path, *words), "LTE")
    assert three["training_hours"] == pytest.approx(3 * one["training_hours"])
    faster = row(planned(tmp_path, *words, "--datasets", "cf", "--tflops", "20"), "LTE")
    assert faster["training_hours"] == pytest.approx(one["training_hours"] / 2)
    # 10,000 iterations of 8 x 32 tokens; 4 rows at 6 N and 2 at 2 N operations; 10 TFLOP/s
    wanted = 10_000 * 8 * 32 * 28 * 6_738_415_616 / 1e13
    assert one["training_hours"] * HOUR == pytest.approx(wanted)


def test_shipped_weights_need_no_training(tmp_path: Path) -> None:
    assert row(planned(tmp_path, "--editors", "recipe"), "RECIPE")["training_hours"] == 0
    other = planned(tmp_path, "--editors", "recipe", "--world-seed", "2")
    assert row(other, "RECIPE")["training_hours"] > 0
    changed = planned(tmp_path, "--editors", "recipe", "--hparam", "recipe.prompt_length=5")
    assert row(changed, "RECIPE")["training_hours"] > 0


def test_ltes_training_on_llama_fits_no_common_gpu(tmp_path: Path) -> None:
    words = ("--preset", "paper", "--editors", "lte,ft", "--edits", "1")
    plan = planned(tmp_path, *words)
    lte = row(plan, "LTE")
    weights = 4 * 6_738_415_616
    assert lte["train_bytes"] > 6 * weights  # model, follower, its gradients, increments, Adam
    assert (lte["train_fits"], row(plan, "FT")["edit_fits"]) == ("no", "yes")
    assert row(plan, "FT")["train_fits"] == "-"
    half = row(planned(tmp_path, *words, "--dtype", "bfloat16"), "FT")
    assert half["edit_bytes"] < 0.6 * row(plan, "FT")["edit_bytes"]


def test_memory_grows_with_the_edits(tmp_path: Path) -> None:
    words = ("--preset", "paper", "--editors", "recipe", "--datasets", "cf")
    one = row(planned(tmp_path, *words, "--edits", "1"), "RECIPE")
    many = row(planned(tmp_path, *words, "--edits", "10000"), "RECIPE")
    rows = 1.5 * 4 * (4096 + 3 * 4096)
    assert many["edit_bytes"] - one["edit_bytes"] == rows * (16_384 - 64)


def test_any_directory_with_a_configuration(tmp_path: Path) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 4, "n_positions": 64, "n_head": 2}
    (directory / "config.json").write_text(json.dumps(config | {"vocab_size": 9}))
    plan = planned(tmp_path, "--backbone", str(directory), "--editors", "ft", "--edits", "1")
    assert {one["backbone"] for one in plan["rows"]} == {"model"}


def test_table_2_counts_its_questions(tmp_path: Path) -> None:
    words = ("--table", "2", "--preset", "paper", "--editors", "ft")
    whole = row(planned(tmp_path, *words), "FT")["asking_hours"]
    assert whole == pytest.approx(30_336 * 0.0589 / HOUR)
    few = row(planned(tmp_path, *words, "--task-limit", "100"), "FT")["asking_hours"]
    assert few == pytest.approx(400 * 0.0589 / HOUR)


def test_markdown_says_what_the_numbers_rest_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--preset", "paper", "--editors", "ft", "--markdown"]) == 0
    text = capsys.readouterr().out
    assert "its Table 3; it does not name the hardware" in text
    assert "| llama-2-7b | FT | 14 | 141,077 |" in text
    assert "covariance" not in text.partition("| Backbone")[2]


def test_an_editor_without_numbers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.runner.costs import times

    monkeypatch.setattr(times, "_published", lambda *_: None)
    monkeypatch.setattr(FtEditor, "needs", Editor.needs)
    chosen = points(get_table(1), Selection(preset="paper", editors=("ft",)))
    request = Request(table=get_table(1), points=chosen, settings=Settings(preset="paper"))
    rows = estimate(request)
    assert rows[-1].hours is None
    assert totals(rows).hours == rows[0].hours
    caption = " ".join(layout(request, rows, Memory(sizes=(80.0,), about="x")).caption)
    assert "Memory of FT is that of the model alone" in caption
    assert "Hours of FT are not known" in caption


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--edits", "20000"], "has 10,000 samples, but 20,000 sequential edits need as many"),
        (["--gpu-memory", "0"], "expected a number above 0, got '0'"),
        (["--tflops", "many"], "expected a number above 0, got 'many'"),
        (["--scoring", "paper"], "takes no --scoring"),
        (["--editors", "rom"], "Did you mean 'rome'"),
        (["--backbone", "mini-lama"], "Did you mean 'mini-llama'"),
        (["--editors", "ft", "--hparam", "rome.layer=1"], "not among the editors of this run"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["plan", *words])
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 2
    assert sentence in capsys.readouterr().err


def test_fits() -> None:
    several = Memory(sizes=(24.0, 40.0, 80.0), about="x")
    assert several.fits(20 * GIB) == "24"
    assert several.fits(23 * GIB) == "40"  # a tenth is left free
    assert several.fits(80 * GIB) == "none"
    assert several.fits(None) == "-"
    assert memory_at_hand(48.0).fits(40 * GIB) == "yes"
    assert memory_at_hand(48.0).fits(44 * GIB) == "no"


def test_a_gpu_at_hand_is_what_it_is_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class Card:
        name = "Card"
        total_memory = 16 * GIB

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no GPU here" in memory_at_hand(None).about
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Card())
    assert memory_at_hand(None).sizes == (16.0,)
    assert "Card of 16 GiB" in memory_at_hand(None).about


def test_every_editor_has_memory_and_hours_of_its_own() -> None:
    one = [
        GridPoint(
            backbone="llama-2-7b", editor=editor, dataset="zsre", n_edits=1, seed=0, limit=None
        )
        for editor in editor_keys()
    ]
    request = Request(table=get_table(1), points=one, settings=Settings(preset="paper"))
    rows = {row.editor: row for row in estimate(request)}
    for editor in editor_keys():
        found = rows[registry.describe(editor).label]
        assert found.known, editor
        assert found.editing_hours, editor

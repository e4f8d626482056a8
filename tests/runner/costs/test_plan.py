"""`python -m bench plan`: rows, hours, fits, files; nothing is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.core.config import RunConfig
from bench.core.grids import Preset, get_table
from bench.runner.costs.estimate import Request, estimate, totals
from bench.runner.costs.layout import GIB, GpuMemory, gpu_memory, layout
from bench.runner.planning import points
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
    (only,) = (row for row in plan["rows"] if row["editor"] == editor)
    return dict(only)


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("preset", ["paper", "embedded"])
def test_every_table_is_planned(number: int, preset: str, tmp_path: Path) -> None:
    recent = number != 4  # the table of ablations is about RECIPE alone
    words = ["--with-recent"] if recent else []
    plan = planned(tmp_path, "--table", str(number), "--preset", preset, *words)
    table = get_table(number)
    scale: Preset = "paper" if preset == "paper" else "embedded"
    config = RunConfig(table=number, preset=scale, recent=recent)
    unedited = 1 if table.measures in ("general_ability", "times") else 0
    assert plan["total"]["cells"] == len(points(config)) + unedited
    assert plan["total"]["hours"] > 0
    assert all(row["known"] and row["hours"] is not None for row in plan["rows"])
    counted = recent and preset == "paper"  # later editors have no published times
    assert any("Table 3 does not hold" in line for line in plan["assumptions"]) == counted
    labels = {registry.describe(point.editor).label for point in points(config)}
    hours = {row["editor"]: row["hours"] for row in plan["rows"] if row["editor"] in labels}
    assert hours.keys() == labels
    assert all(hours.values())


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
    single = row(planned(tmp_path, *words, "--edits", "1"), "RECIPE")
    many = row(planned(tmp_path, *words, "--edits", "10000"), "RECIPE")
    rows = 1.5 * 4 * (4096 + 3 * 4096)
    assert many["edit_bytes"] - single["edit_bytes"] == rows * (16_384 - 64)


def test_any_directory_with_a_configuration(tmp_path: Path) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 4, "n_positions": 64, "n_head": 2}
    (directory / "config.json").write_text(json.dumps(config | {"vocab_size": 9}))
    plan = planned(tmp_path, "--backbone", str(directory), "--editors", "ft", "--edits", "1")
    assert {row["backbone"] for row in plan["rows"]} == {"model"}


def test_markdown_says_what_the_numbers_rest_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--preset", "paper", "--editors", "ft", "--markdown"]) == 0
    text = capsys.readouterr().out
    assert "Table 3" in text
    assert "| llama-2-7b | FT | 14 | 141,077 |" in text
    assert "covariance" not in text.partition("| Backbone")[2]


def test_an_editor_without_numbers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.runner.costs import hours

    monkeypatch.setattr(hours, "_published", lambda *_: None)
    monkeypatch.setattr(FtEditor, "needs", Editor.needs)
    config = RunConfig(preset="paper", editors=("ft",))
    request = Request(config)
    rows = estimate(request)
    assert rows[-1].hours is None
    assert totals(rows).hours == rows[0].hours
    caption = " ".join(layout(request, rows, GpuMemory(sizes=(80.0,), about="x")).caption)
    assert "Memory of FT" in caption
    assert "Hours of FT" in caption


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--edits", "20000"], "10,000 samples"),
        (["--gpu-memory", "0"], "got '0'"),
        (["--tflops", "many"], "got 'many'"),
        (["--scoring", "paper"], "--scoring"),
        (["--editors", "rom"], "'rome'"),
        (["--backbone", "mini-lama"], "'mini-llama'"),
        (["--editors", "ft", "--hparam", "rome.layer=1"], "ROME"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["plan", *words])
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 2
    assert named in capsys.readouterr().err


def test_fits() -> None:
    several = GpuMemory(sizes=(24.0, 40.0, 80.0), about="x")
    assert several.fits(20 * GIB) == "24"
    assert several.fits(23 * GIB) == "40"  # a tenth is left free
    assert several.fits(80 * GIB) == "none"
    assert several.fits(None) == "-"
    assert gpu_memory(48.0).fits(40 * GIB) == "yes"
    assert gpu_memory(48.0).fits(44 * GIB) == "no"


def test_a_gpu_at_hand_is_what_it_is_compared_with(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class Card:
        name = "Card"
        total_memory = 16 * GIB

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "no GPU here" in gpu_memory(None).about
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Card())
    assert gpu_memory(None).sizes == (16.0,)
    assert "Card of 16 GiB" in gpu_memory(None).about

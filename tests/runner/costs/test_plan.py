"""`python -m bench plan`: rows, fits, files, and hours that are published, recorded or counted."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.core.config import RunConfig
from bench.core.grids import Preset, get_table
from bench.core.names import recent_labels
from bench.runner.costs.estimate import HOUR, Request, estimate, totals
from bench.runner.costs.hours import CPU_TERAFLOPS, TERAFLOPS, measured_teraflops
from bench.runner.costs.layout import GIB, GpuMemory, gpu_memory, layout
from bench.runner.costs.sizes import encoder_shape, shape_of_backbone
from bench.runner.planning import points
from bench.store.reference import reference_records
from editors import registry
from editors.alphaedit import AlphaEditHparams
from editors.base import Editor, Hparams
from editors.ft import FtEditor
from editors.ike import IkeEditor, IkeHparams
from editors.parts.needs import Setting
from editors.parts.wise import WiseHparams
from editors.rag import RagHparams
from editors.ultraedit import UltraEditHparams
from tests.cli.commands import Cli, Refused, raising


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    refuse = raising(AssertionError("something was loaded"))
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


def test_markdown_says_what_the_numbers_rest_on(cli: Cli) -> None:
    text = cli("plan", "--preset", "paper", "--editors", "ft", "--markdown").out
    assert "Table 3" in text
    assert "| llama-2-7b | FT | 14 | 44,148 |" in text
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
def test_bad_input_is_one_sentence(words: list[str], named: str, refused: Refused) -> None:
    assert named in refused("plan", *words)


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


PARAMETERS = 6_738_415_616  # of LLaMA-2-7B


def large(**changes: Any) -> Setting:
    setting = Setting(
        shape=shape_of_backbone("llama-2-7b"),
        encoder=encoder_shape("roberta-base"),
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
    assert row(plan, "unedited")["asking_hours"] == pytest.approx(3 * 2_500 * 3 * 2 * 0.0586 / HOUR)


@pytest.mark.parametrize(
    ("words", "editor", "backbones"),
    [
        ("--preset paper --editors rome --limit 10", "ROME", ("gpt2-xl", "llama-2-7b")),
        ("--editors rag --datasets cf", "RAG", ("mini-gpt2", "mini-llama")),  # has records alone
    ],
)
def test_another_backbone_takes_as_much_longer_as_it_is_larger(
    words: str, editor: str, backbones: tuple[str, str], tmp_path: Path
) -> None:
    asked = (*words.split(), "--edits", "10")
    llama = row(planned(tmp_path, *asked), editor)
    small = row(planned(tmp_path, "--table", "6", *asked), editor)
    smaller, larger = (shape_of_backbone(name).parameters for name in backbones)
    for hours in ("editing_hours", "asking_hours"):
        assert small[hours] == pytest.approx(smaller / larger * llama[hours])


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


def test_table_2_counts_its_questions(tmp_path: Path) -> None:
    words = ("--table", "2", "--preset", "paper", "--editors", "ft", "--scoring", "paper")
    whole = row(planned(tmp_path, *words), "FT")["asking_hours"]
    assert whole == pytest.approx(30_336 * 0.0589 / HOUR)
    few = row(planned(tmp_path, *words, "--task-limit", "100"), "FT")["asking_hours"]
    assert few == pytest.approx(400 * 0.0589 / HOUR)
    released = row(planned(tmp_path, *words[:-2]), "FT")
    assert released["asking_hours"] == pytest.approx(19 * whole)  # blocks of 1,000 of 19,009


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
        ("rag", RagHparams(), 40 * 2 * encoder_shape("roberta-base").parameters),
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


def test_a_cpu_is_measured_and_a_gpu_is_not() -> None:
    def rate(teraflops: float | None = None, **changes: Any) -> float:
        return Request(RunConfig(**changes), teraflops).rate

    real: dict[str, Any] = {"data_dir": Path("data"), "backbone": "model"}
    assert 1e-4 < rate(**real) == measured_teraflops() < 9
    assert rate(**real, device="cuda") == TERAFLOPS["float32"]
    assert rate(preset="paper", dtype="bfloat16") == TERAFLOPS["bfloat16"]
    assert rate() == CPU_TERAFLOPS
    assert rate(3.0, **real) == 3.0


def test_every_editor_of_a_later_paper_is_known() -> None:
    for label in recent_labels():
        assert operations(label, registry.hparams_for(label, "llama-2-7b")) > 0

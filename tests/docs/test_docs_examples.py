"""The examples of the documentation work: an editor, a data set, a call, a first run."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bench.datasets
import editors
from bench.checks.contract import CLAUSES
from bench.checks.contract.tiny import TINY, Subject
from bench.cli import main as cli
from bench.models import backbones
from editors import registry
from tests.support.pages import ROOT, commands, example, table_under


def executed(page: str, name: str) -> dict[str, Any]:
    """The names that a marked block binds."""
    names: dict[str, Any] = {}
    exec(compile(example(page, name), page, "exec"), names)  # noqa: S102 - our own page
    return names


@pytest.fixture
def nudge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The key of the worked example, which lies among the editors for the while."""
    (tmp_path / "nudge.py").write_text(example("add_your_own.md", "nudge"), encoding="utf-8")
    monkeypatch.setattr(editors, "__path__", [*editors.__path__, str(tmp_path)])
    registry._entries.cache_clear()
    yield "nudge"
    registry._entries.cache_clear()
    sys.modules.pop("editors.nudge", None)


@pytest.mark.parametrize("architecture", TINY)
def test_the_example_of_an_editor_holds_the_contract(
    nudge: str, architecture: str, tmp_path: Path
) -> None:
    subject = Subject(key=nudge, architecture=architecture, directory=tmp_path)
    for clause in CLAUSES.values():
        clause.check(subject)


def test_the_example_of_a_data_set_reads_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "places.py").write_text(example("add_your_own.md", "places"), encoding="utf-8")
    monkeypatch.setattr(bench.datasets, "__path__", [*bench.datasets.__path__, str(package)])
    row = {
        "question": "Where is Brenn?",
        "answer": " in Veltria",
        "subject": "brenn",
        "rephrased": ["In which land is Brenn?"],
        "unrelated": [{"question": "Where is Rome?", "answer": "in Italy"}],
    }
    (tmp_path / "places-test.json").write_text(json.dumps([row]), encoding="utf-8")
    try:
        module = importlib.import_module("bench.datasets.places")
        loaded = module.Places().load("test", tmp_path)
    finally:
        sys.modules.pop("bench.datasets.places", None)
    (sample,) = loaded.samples
    assert (sample.request.target, sample.request.subject) == ("in Veltria", "Brenn")
    targets = [probe.target for probe in (*sample.generality, *sample.locality)]
    assert targets == ["in Veltria", "in Italy"]


def test_the_example_in_python_edits_a_model() -> None:
    names = executed("faq.md", "python")
    assert names["answer"].strip().startswith(names["fact"].target)


def test_the_example_of_a_run_gives_a_data_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    names = executed("add_your_own.md", "frame")
    numbers, wide = names["numbers"], names["wide"]
    assert wide.loc[(2, "AnswerMemory"), "reliability"] == 1.0
    _, rows = table_under(ROOT / "docs" / "add_your_own.md", "column")
    named = [name.strip("` ") for row in rows for name in row[0].strip("| ").split(",")]
    assert named == list(numbers.columns)


def test_the_example_of_editing_by_hand_edits() -> None:
    names = executed("add_your_own.md", "by-hand")
    assert names["answer"].startswith("Brimere")
    assert not names["editor"].generate("Luktex is based in").startswith("Brimere")


def test_the_example_of_an_editor_is_one_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "nudge.py").write_text(example("add_your_own.md", "nudge"), encoding="utf-8")
    assert registry.describe(str(tmp_path / "nudge.py")).label == "Nudge"


@pytest.fixture
def deep_model(tmp_path: Path) -> Path:
    """A random model as deep as LLaMA-2-7B and very narrow, in a folder of its name."""
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    from bench.world.store import require_assets

    source, directory = require_assets(0, "mini-llama"), tmp_path / "models" / "llama-2-7b"
    config = AutoConfig.from_pretrained(
        source, hidden_size=16, intermediate_size=24, num_attention_heads=2, num_hidden_layers=32,
        num_key_value_heads=2, head_dim=8,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(directory)
    AutoTokenizer.from_pretrained(source).save_pretrained(directory)
    return directory


@pytest.mark.slow
def test_the_first_real_run_works_with_the_settings_of_the_real_model(
    deep_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from bench.world.store import data_dir

    (tmp_path / "RECIPE").symlink_to(data_dir())
    (tmp_path / "corpus.txt").symlink_to(data_dir() / "corpus.txt")
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backbones, "_like", lambda name, config: "llama-2-7b")
    page = ROOT / "docs" / "first_real_run.md"
    place = str(deep_model.relative_to(tmp_path))
    (command,) = [words for words in commands(page) if place in words]
    smaller = {"cuda": "cpu", "100": "1"}
    assert cli.main([*(smaller.get(word, word) for word in command), "--jobs", "1"]) == 0
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs/first").glob("*.json")]
    assert {record["cell"]["editor"] for record in records} == {
        "ft", "rome", "memit", "wilke", "t_patcher", "grace",
    }  # fmt: skip
    for record in records:
        preset = registry.preset_of(record["cell"]["editor"], "llama-2-7b")
        assert record["cell"]["hparams"] == json.loads(json.dumps(preset.to_dict()))
    assert "published value on LLAMA-2-7B" in capsys.readouterr().out

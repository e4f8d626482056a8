"""Table 3 of an architecture without weights: what is made up, and how it is marked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import tiny_gpt2
from bench.cli.main import main
from bench.evaluation.timing.session import stand_ins
from bench.models.backbones import load, locate
from bench.models.resources import Sources
from bench.runner import kinds as planning
from bench.tables.render import to_csv
from bench.tables.times import view
from editors import registry
from editors.base import EditRequest
from editors.ft import FtEditor
from editors.parts.tokens import prompt_ids
from tests.evaluation.timing.test_time_table import TABLE, cell, record, seconds
from tests.support.tiny_files import save_tiny

CONFIG = {"model_type": "gpt2", "n_embd": 16, "n_layer": 3, "n_head": 2, "n_positions": 128}


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return write(tmp_path / "my-model", {**CONFIG, "vocab_size": 3100})


def write(directory: Path, config: dict[str, Any]) -> Path:
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def test_a_configuration_alone_is_a_model_in_the_wanted_dtype(bare: Path) -> None:
    before = torch.get_rng_state()
    backbone = locate(str(bare), weights="random")
    first, second, half = load(backbone), load(backbone), load(backbone, dtype="bfloat16")
    assert torch.equal(torch.get_rng_state(), before)
    assert (first.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    assert first.model.config.vocab_size == 3100
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name
    assert len(first.tokenizer) == 3072


def test_its_digest_is_that_of_no_trained_model(bare: Path, tmp_path: Path) -> None:
    saved = save_tiny("llama", tmp_path / "saved")
    trained, random = locate(str(saved)), locate(str(saved), weights="random")
    assert random.digest != trained.digest
    assert (random.weights, random.lent_tokenizer) == ("random", None)
    backbone = locate(str(bare), weights="random")
    assert backbone.lent_tokenizer is not None
    assert backbone.lent_tokenizer.name == "mini-gpt2"
    (bare / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": 3101}))
    assert locate(str(bare), weights="random").digest != backbone.digest


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"model_type": "mamba"}, "model_type 'mamba', which has no architecture row"),
        ({**CONFIG, "vocab_size": 500}, "vocab_size in its config.json must be at least that"),
        ({**CONFIG, "auto_map": {}}, "asks for remote code"),
    ],
)
def test_what_cannot_be_timed_is_one_sentence(
    tmp_path: Path, config: dict[str, Any], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = str(write(tmp_path / "odd", config))
    assert main(["run", "--table", "3", "--weights", "random", "--backbone", place]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("table", ["1", "2", "4", "5"])
@pytest.mark.parametrize("command", ["run", "tables"])
def test_other_tables_refuse_it(
    table: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--table", table, "--weights", "random"]) == 2
    assert f"Table {table} takes no --weights" in capsys.readouterr().err


def test_no_device_map(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["run", "--table", "3", "--weights", "random", "--backbone", str(bare)]
    assert main([*asked, "--device-map", "auto"]) == 2
    assert "takes no --device-map" in capsys.readouterr().err


def test_prefixes_have_the_wanted_number_of_tokens(tmp_path: Path) -> None:
    cls, lm = registry.editor_class("rome"), tiny_gpt2()
    hparams = cls.hparams_class.from_dict({"layer": 1, "context_lengths": [3, 12]})
    resources = stand_ins(cls, lm, hparams, Sources(), tmp_path)
    assert resources.templates[0] == "{}"
    for template, length in zip(resources.templates[1:], (3, 12), strict=True):
        assert len(prompt_ids(lm.tokenizer, template.removesuffix(". {}"))) == length
    assert resources.covariance is not None
    assert resources.covariance(1).diagonal().tolist() == [1.0] * 12 + [pytest.approx(1e-3)] * 12
    assert int(resources.covariance(1).count_nonzero()) == 24


def test_a_run_from_a_configuration(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(planning, "QUERIES", 2)
    monkeypatch.setattr(planning, "NEW_TOKENS", 2)
    asked = ["--table", "3", "--weights", "random", "--backbone", str(bare), "--edits", "1",
             "--editors", "ft,malmen,alphaedit,ike", "--out", str(tmp_path / "out")]  # fmt: skip
    assert main(["run", *asked]) == 0
    printed = capsys.readouterr().out
    assert "Random weights (seed 0), from the configuration alone" in printed
    assert "texts are cut by the tokenizer of mini-gpt2" in printed
    records = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("**/*.json")]
    by_editor = {r["cell"]["editor"]: r for r in records}
    assert {r["cell"]["weights"] for r in records} == {"random"}
    summary = by_editor["ft"]["summary"]
    assert summary["edit_least"]["median"] < summary["edit"]["median"]
    assert "edit_least" not in by_editor["malmen"]["summary"]
    assert by_editor["malmen"]["summary"]["trained_parameters"] > 0
    assert all(r["summary"]["forward_bfloat16"]["count"] == 2 for r in records)
    assert main(["tables", *asked]) == 0
    assert main(["tables", *asked, "--export", str(tmp_path / "records.jsonl")]) == 0


@pytest.mark.parametrize("edits", [1, 3])  # before the first bound, and before the second
def test_a_killed_run_continues_after_its_last_checkpoint(
    edits: int, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "QUERIES", 2)
    monkeypatch.setattr(planning, "NEW_TOKENS", 2)
    monkeypatch.setattr("bench.evaluation.timing.measure.WARM_UP", 0)
    monkeypatch.setattr("bench.evaluation.timing.measure.WARM_SECONDS", 0.0)
    asked = ["run", "--table", "3", "--weights", "random", "--backbone", str(bare), "--edits", "2",
             "--editors", "ft", "--checkpoint-edits", "1", "--out", str(tmp_path)]  # fmt: skip
    edit = FtEditor.edit
    edited: list[Sequence[EditRequest]] = []

    def killed(editor: FtEditor, requests: Sequence[EditRequest]) -> None:
        if len(edited) == edits:
            raise SystemExit  # as good as killed: nothing is written after this
        edited.append(requests)
        edit(editor, requests)

    monkeypatch.setattr(FtEditor, "edit", killed)
    with pytest.raises(SystemExit):
        main(asked)
    assert len([*(tmp_path / "checkpoints").iterdir()]) == 1

    def counted(editor: FtEditor, requests: Sequence[EditRequest]) -> None:
        edited.append(requests)
        edit(editor, requests)

    monkeypatch.setattr(FtEditor, "edit", counted)
    assert main(asked) == 0
    assert len(edited) == 4
    records = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    (summary,) = [r["summary"] for r in records if r["cell"]["editor"] == "ft"]
    assert {summary[name]["count"] for name in ("edit", "edit_least")} == {2}


def test_bounds_are_printed_as_a_range() -> None:
    of = cell("ft", weights="random")
    timed = record(of)
    timed["summary"]["edit_least"] = seconds(0.2)
    shown = view(TABLE, [of], [timed])
    (row,) = shown.text.rows
    assert row[3] == "0.2000 - 0.4000 (1.7205)"
    assert row[7] == "0.3000 - 0.5000 (1.7794)"
    assert ",edit_time_lower_bound_s,0.200000," in to_csv(shown)
    assert of.key() != cell("ft").key()

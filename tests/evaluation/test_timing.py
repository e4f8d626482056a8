"""What is timed, how often and in which state, with weights and without, and Table 3 of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, tiny_gpt2, tiny_llama
from bench.checks.regression.evidence import values
from bench.cli.main import main
from bench.core.config import Weights
from bench.core.grids import get_table
from bench.core.progress import StoppedEarly
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.record_kinds import TimingCell
from bench.evaluation.timing import WARM_UP, Seconds, edit_seconds, inference_seconds, stand_ins
from bench.models.backbones import load, locate
from bench.models.resources import Sources
from bench.runner import kinds as planning
from bench.store import results
from bench.store.results import Record
from bench.tables.render import to_csv
from bench.tables.times import machine_of, view
from editors import registry
from editors.base import EditRequest
from editors.ft import FtEditor
from editors.parts.tokens import TokenBatch, prompt_ids
from tests.support.fake_editors import DoNothing
from tests.support.stopping_checkpointer import StoppingCheckpointer, checkpoint_file
from tests.support.tiny_files import save_tiny

QUERIES = 12


class Slow(DoNothing):
    """Takes 20 ms an edit, and 10 ms a query once it holds an edit."""

    def __init__(self) -> None:
        super().__init__(tiny_llama())
        self.edits: list[EditRequest] = []

    def edit(self, requests: Sequence[EditRequest]) -> None:
        self.edits += requests
        sleep(0.02)

    def reset(self) -> None:
        self.edits = []

    @contextmanager
    def steering(self, batch: TokenBatch) -> Iterator[None]:
        with super().steering(batch):
            sleep(0.01 if self.edits else 0)
            yield


def test_quartiles_by_hand() -> None:
    assert Seconds.of([4.0, 1.0, 2.0, 3.0, 5.0]) == Seconds(
        median=3.0, lower=2.0, upper=4.0, count=5
    )
    assert Seconds.of([7.0]) == Seconds(median=7.0, lower=7.0, upper=7.0, count=1)


def test_edits_are_applied_one_at_a_time_and_stay_without_the_warm_ups() -> None:
    editor = Slow()
    seconds = edit_seconds(editor, REQUESTS * 3)
    assert editor.edits == list(REQUESTS * 3)
    assert seconds.count == 3 * len(REQUESTS)
    assert 0.02 <= seconds.lower <= seconds.median <= seconds.upper
    with pytest.raises(ValueError, match="at least one edit"):
        edit_seconds(editor, [])


def test_timed_edits_of_an_earlier_run_are_not_applied_again(tmp_path: Path) -> None:
    file, requests = checkpoint_file(tmp_path), REQUESTS * 2
    with pytest.raises(StoppedEarly):
        edit_seconds(
            Slow(), requests, checkpointer=StoppingCheckpointer(file, 3), facts={"of": "these"}
        )
    checkpoint, editor = file.read(), Slow()
    assert checkpoint is not None
    assert checkpoint.progress["of"] == "these"
    seconds = edit_seconds(editor, requests, checkpointer=Checkpointer(file), checkpoint=checkpoint)
    assert editor.edits == list(requests[3:])
    assert seconds.count == len(requests)


def test_queries_are_steered_one_by_one() -> None:
    editor = Slow()
    editor.edit(REQUESTS)
    inference = inference_seconds(editor.lm, REQUESTS, editor, queries=QUERIES, new_tokens=3)
    assert inference.forward.count == inference.generation.count == QUERIES
    assert len(editor.batches) >= 2 * (QUERIES + WARM_UP)
    assert all(len(batch) == 1 for batch in editor.batches)
    assert inference.forward.lower >= 0.01
    assert inference.overhead > 1.0
    unedited = inference_seconds(editor.lm, REQUESTS, None, queries=QUERIES, new_tokens=3)
    assert unedited.forward.count == QUERIES


TABLE = get_table(3)


def cell(editor: str | None, weights: Weights = "trained", device: str = "cpu") -> TimingCell:
    return TimingCell(
        backbone="mini-llama",
        backbone_digest="0" * 64,
        dtype="float32",
        dataset="counterfact",
        dataset_revision="invented",
        dataset_digest="1" * 64,
        editor=editor,
        editor_version=None if editor is None else 1,
        hparams={},
        inputs={},
        n_edits=0 if editor is None else 10,
        seed=0,
        queries=100,
        new_tokens=20,
        weights=weights,
        timing_version=4,
        device=device,
    )


def seconds(middle: float) -> dict[str, float]:
    return {"median": middle, "lower": middle / 2, "upper": 2 * middle, "count": 10}


def record(of: TimingCell, *, trained: int | None = None) -> Record:
    summary: dict[str, Any] = {
        "edit": None if of.editor is None else seconds(0.4),
        "forward": seconds(0.1),
        "overhead": 1.0 if of.editor is None else 1.25,
        "forward_bfloat16": seconds(0.05),
        "generation": seconds(0.5),
        "trained_parameters": trained,
    }
    provenance = {"hardware": {"processor": "CPU"}, "threads": 1}
    return results.complete(of, {"label": "?"}, provenance, {"summary": summary})


def test_times_stand_beside_the_published_ones() -> None:
    cells = [cell(None), cell("recipe")]
    records = [record(cells[0]), record(cells[1], trained=1234)]
    data = view(TABLE, [*cells, cell("mend")], records)
    shown = {row[2]: row for row in data.text.rows}
    assert shown["RECIPE"][3] == "0.4000 [0.2000, 0.8000] (0.0078)"
    assert shown["RECIPE"][5] == "1.25x"
    assert shown["RECIPE"][6] == "0.0500 [0.0250, 0.1000]"
    assert shown["RECIPE"][7] == "0.5000 (0.0676)"  # of both medians
    assert shown["RECIPE"][9] == "1,234"
    assert shown["unedited"][3:5] == ("-", "0.1000 [0.0500, 0.2000]")
    assert shown["unedited"][7] == "-"
    assert shown["MEND"][3] == "- (0.0987)"
    number = "3,mini-llama,10,RB,RECIPE,,edit_time_s,0.400000,,1,LLAMA-2-7B,0.0078"
    assert number in to_csv(data)


def test_for_claims_times_are_those_that_the_table_prints_at_their_number_of_edits() -> None:
    cells = [cell(None), cell("recipe")]
    by_place = values(TABLE, cells, [record(of) for of in cells])
    shown = {(place.editor, place.n_edits, place.metric): v for place, v in by_place.items()}
    n_edits = cells[1].n_edits
    assert shown["N/A", 0, "infer_time_s"] == pytest.approx(0.1)
    assert shown["RECIPE", n_edits, "infer_time_s"] == pytest.approx(0.1)
    assert shown["RECIPE", n_edits, "total_time_s"] == pytest.approx(0.5)
    assert shown["RECIPE", n_edits, "inference_over_unedited"] == pytest.approx(1.25)
    assert {n for _, n, _ in shown} == {0, n_edits}


def test_a_device_is_part_of_a_cell_and_named_in_the_table() -> None:
    on_cpu, on_gpu = cell("ft"), cell("ft", device="cuda")
    assert "device" not in on_cpu.to_dict()
    assert on_gpu.key() != on_cpu.key()
    timed = record(on_gpu)
    timed["provenance"]["hardware"]["accelerator"] = "Some GPU"
    assert machine_of(timed) == "Some GPU, 1 thread"
    assert machine_of(record(on_cpu)) == "CPU, 1 thread"


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


RANDOM = ["--weights", "random"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--table", "3", "--limit", "5"], "Table 3 takes no --limit: it measures times."),
        (["--table", "3", *RANDOM, "--device-map", "auto"], "takes no --device-map"),
        *(([*RANDOM, "--table", table], f"Table {table} takes no --weights") for table in "1245"),
    ],
)
@pytest.mark.parametrize("command", ["run", "tables"])
def test_options_that_a_table_does_not_take(
    command: str, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--weights" not in words[:2]:
        command = "run"
    assert main([command, *words]) == 2
    assert sentence in capsys.readouterr().err


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
    monkeypatch.setattr("bench.evaluation.timing.WARM_UP", 0)
    monkeypatch.setattr("bench.evaluation.timing.WARM_SECONDS", 0.0)
    asked = ["run", "--table", "3", "--weights", "random", "--backbone", str(bare), "--edits", "2",
             "--editors", "ft", "--checkpoint-edits", "1", "--out", str(tmp_path)]  # fmt: skip
    edit, killing = FtEditor.edit, iter([True])
    edited: list[Sequence[EditRequest]] = []

    def counted(editor: FtEditor, requests: Sequence[EditRequest]) -> None:
        if len(edited) == edits and next(killing, False):
            raise SystemExit  # as good as killed: nothing is written after this
        edited.append(requests)
        edit(editor, requests)

    monkeypatch.setattr(FtEditor, "edit", counted)
    with pytest.raises(SystemExit):
        main(asked)
    assert len([*(tmp_path / "checkpoints").iterdir()]) == 1
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

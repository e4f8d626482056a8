"""A worker uses a model for the next cell only if the last one left it as it was."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import SAMPLES
from bench.core.config import RunOptions
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.context import Context
from bench.evaluation.driver import run_blocks
from bench.evaluation.jobs import Results
from bench.models.backbones import load, locate
from bench.runner.worker import Worker
from bench.store.results import ResultStore
from editors.base import EditRequest
from editors.parts.language_model import LanguageModel
from tests.runner.executors.marking_jobs import job as made_job
from tests.support.fake_editors import Shift
from tests.support.fake_jobs import SelfRunningJob
from tests.support.tiny_files import save_tiny


class Sticky(Shift):
    """Claims a reset that it does not do."""

    label = "STICKY"

    def reset(self) -> None:
        self.log.append("reset")


@dataclass(frozen=True, kw_only=True)
class ShiftingJob(SelfRunningJob):
    """Runs a cell with an editor that restores the model, or one that does not."""

    restores: bool

    def results(self, context: Context, checkpointer: Checkpointer) -> Results:
        lm = context.language_model(self)
        editor = Shift(lm) if self.restores else Sticky(lm)
        ran = run_blocks(made_job(Path(), 0).cell, editor, SAMPLES, checkpointer=checkpointer)
        return Results(body={"rows": ran.rows, "summary": {}}, seconds={}, edits=1)


def shifting(backbone: Path, seed: int, *, restores: bool) -> ShiftingJob:
    cell = made_job(backbone, seed).cell
    return ShiftingJob(cell=cell, backbone=locate(str(backbone)), device="cpu", restores=restores)


@pytest.fixture
def backbone(tmp_path: Path) -> Path:
    return save_tiny("llama", tmp_path / "tiny")


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "out")


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[LanguageModel]:
    """The models that are loaded from now on."""
    models: list[LanguageModel] = []

    def note(*args: Any, **how: Any) -> LanguageModel:
        models.append(load(*args, **how))
        return models[-1]

    monkeypatch.setattr("bench.evaluation.context.load", note)
    return models


def test_a_model_that_was_restored_serves_the_next_cell(
    backbone: Path, store: ResultStore, loads: list[LanguageModel]
) -> None:
    worker = Worker(store)
    for seed in range(3):
        assert worker.run(shifting(backbone, seed, restores=True)).outcome == "done"
    assert len(loads) == 1


def test_a_model_that_was_not_restored_fails_its_cell_and_is_loaded_again(
    backbone: Path, store: ResultStore, loads: list[LanguageModel]
) -> None:
    worker = Worker(store)
    finished = worker.run(shifting(backbone, 0, restores=False))
    assert finished.outcome == "failed"
    assert str(finished.error).startswith("ResetError: ")
    assert "model.norm.weight" in str(finished.error)
    record = json.loads(store.path(finished.key).read_text())
    assert record["status"]["state"] == "failed"
    assert "rows" not in record
    assert worker.run(shifting(backbone, 1, restores=True)).outcome == "done"
    first, second = (lm.model.state_dict()["model.norm.weight"] for lm in loads)
    assert not torch.equal(first, second)


def test_a_checkpoint_of_a_corrupted_model_is_set_aside(
    backbone: Path, store: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = Worker(store, RunOptions(checkpoint_edits=1))
    assert worker.run(shifting(backbone, 0, restores=False)).outcome == "failed"
    assert [path.suffix for path in store.checkpoints.iterdir()] == [".corrupt"]
    assert "did not restore" in capsys.readouterr().err


def test_a_request_shifts_the_weights_at_all(backbone: Path) -> None:
    context = Context()
    lm = context.language_model(shifting(backbone, 0, restores=True))
    context.check_reset()
    Shift(lm).edit([EditRequest(prompt="a", target="b", subject="a")])
    with pytest.raises(RuntimeError, match="reset did not restore"):
        context.check_reset()

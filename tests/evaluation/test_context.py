"""A worker uses a model for the next cell only if the last one left it as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.checks.contract.tiny import SAMPLES
from bench.core.config import RunOptions
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.context import Context, changed, fingerprint
from bench.evaluation.driver import run_blocks
from bench.evaluation.jobs import Results
from bench.models.backbones import load, locate
from bench.runner.worker import Worker
from bench.store.results import ResultStore
from editors.parts.language_model import LanguageModel
from tests.runner.executors.marking_jobs import job as job_of
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
        ran = run_blocks(job_of(Path(), 0).cell, editor, SAMPLES, checkpointer=checkpointer)
        return Results(body={"rows": ran.rows, "summary": {}}, seconds={}, edits=1)


def shifting(backbone: Path, seed: int, *, restores: bool) -> ShiftingJob:
    cell = job_of(backbone, seed).cell
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
    backbone: Path,
    store: ResultStore,
    loads: list[LanguageModel],
    capsys: pytest.CaptureFixture[str],
) -> None:
    worker = Worker(store, RunOptions(checkpoint_edits=1))
    finished = worker.run(shifting(backbone, 0, restores=False))
    assert finished.outcome == "failed"
    assert str(finished.error).startswith("ResetError: ")
    assert "model.norm.weight" in str(finished.error)
    record = json.loads(store.path(finished.key).read_text())
    assert record["status"]["state"] == "failed"
    assert "rows" not in record
    assert [path.suffix for path in store.checkpoints.iterdir()] == [".corrupt"]
    assert "did not restore" in capsys.readouterr().err
    assert worker.run(shifting(backbone, 1, restores=True)).outcome == "done"
    first, second = (lm.model.state_dict()["model.norm.weight"] for lm in loads)
    assert not torch.equal(first, second)


# ---- fingerprints ------------------------------------------------------------------------------


class Small(nn.Module):
    """Parameters of several dtypes and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(7, 5, generator=generator))
        self.narrow = nn.Parameter(torch.randn(9, generator=generator).to(torch.bfloat16))
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("empty", torch.zeros(0))
        self.shared = self.weight


@pytest.mark.parametrize("at", ["weight", "narrow", "mask"])
def test_one_bit_shows_and_putting_it_back_does_not(at: str) -> None:
    small = Small()
    before = fingerprint(small)
    tensor = small.get_parameter(at) if at != "mask" else small.get_buffer(at)
    bits = tensor.detach().view(-1).view(torch.uint8)
    bits[-tensor.element_size()] ^= 1
    assert changed(before, fingerprint(small)) == [at]
    bits[-tensor.element_size()] ^= 1
    assert fingerprint(small) == before


def exchange(small: Small) -> None:
    small.weight[[0, 1]] = small.weight[[1, 0]]


def negate_zero(small: Small) -> None:
    small.weight[6, 4] = -small.weight[6, 4]


def replace_tensors(small: Small) -> None:
    small.register_buffer("left", torch.ones(1))
    small.narrow = nn.Parameter(small.narrow.detach().view(3, 3))
    del small.mask


@pytest.mark.parametrize("chunk", [5, 1 << 20])  # by chunks of a row, whole ones are exchanged
@pytest.mark.parametrize(
    ("change", "names"),
    [
        (exchange, ["weight"]),
        (negate_zero, ["weight"]),  # equal, but not the same bits
        (replace_tensors, ["left", "mask", "narrow"]),
    ],
)
@torch.no_grad()
def test_any_other_change_shows(
    change: Callable[[Small], None], names: list[str], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.evaluation.context._CHUNK", chunk)
    small = Small()
    small.weight[6, 4] = 0.0
    before = fingerprint(small)
    change(small)
    assert changed(before, fingerprint(small)) == names

"""Editors and whole runs on a simulated GPU: the CPU's numbers, and no needless waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.checks.contract.clause import PAIRS
from bench.checks.contract.tiny import REQUESTS, TUNING, Subject, logits
from bench.cli.main import main
from bench.core.numerics import fixed_arithmetic
from editors import registry
from editors.base import TrainableEditor
from tests.cli.commands import records
from tests.devices.simulated_gpu import simulated_gpu, tiny_models_on_gpu

# Few steps: training has to run and to agree, not to be good.
_SHORT = {"iterations": 4, "checkpoint_interval": 2, "patience": None}
_KEYS = registry.shipped()
# Whether to go on depends on the loss in FT, ROME and MEMIT: one read at each step.
_READS = {"ft": 1, "rome": 1, "memit": 1, "grace": 0, "t_patcher": 0}
_STEPS = {"rome": "v_num_grad_steps", "memit": "v_num_grad_steps", "grace": "n_iter"}
_FEW, _MANY = 5, 12
_RUN = ["run", "--table", "1", "--editors", "ft,memit,grace,recipe", "--datasets", "zsre"]
_RUN += ["--edits", "2", "--limit", "2", "--jobs", "1", "--out", "out"]


@pytest.fixture
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in _KEYS:
        cls = registry.editor_class(key)
        if issubclass(cls, TrainableEditor):
            fields = cls.hparams_class.__dataclass_fields__
            short = {name: value for name, value in _SHORT.items() if name in fields}
            monkeypatch.setitem(TUNING, key, TUNING.get(key, {}) | short)


@pytest.mark.usefixtures("short_training")
@pytest.mark.parametrize(
    ("key", "architecture"),
    [(key, "llama") for key in _KEYS]
    + [(key, other) for other in ("gptj", "gpt2") for key in ("rome", "recipe")],
)
def test_editors_have_the_numbers_of_the_cpu(key: str, architecture: str, tmp_path: Path) -> None:
    with fixed_arithmetic(wanted=True):
        expected = _answers(Subject(key=key, architecture=architecture, directory=tmp_path / "cpu"))
        with tiny_models_on_gpu():
            subject = Subject(key=key, architecture=architecture, directory=tmp_path / "gpu")
            on_gpu = _answers(subject)
    for name, scores in expected.items():
        torch.testing.assert_close(on_gpu[name], scores)


def _answers(subject: Subject) -> dict[str, Tensor]:
    """Logits before and after edits, after a reset, and after loading a stored state."""
    subject.directory.mkdir()
    editor = subject.editor()
    answers = {"unedited": logits(editor, PAIRS)}
    editor.edit(REQUESTS[:1])
    editor.edit(REQUESTS[1:])
    answers["edited"] = logits(editor, PAIRS)
    stored = {name: tensor.cpu() for name, tensor in editor.state_dict().items()}  # a checkpoint
    editor.reset()
    answers["reset"] = logits(editor, PAIRS)
    editor.load_state_dict(stored)
    answers["continued"] = logits(editor, PAIRS)
    return {name: scores.cpu() for name, scores in answers.items()}


@pytest.mark.parametrize("key", _READS)
def test_each_further_step_of_an_edit_waits_no_more_than_necessary(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = {}
    for steps in (_FEW, _MANY):
        changes = {_STEPS.get(key, "num_steps"): steps}
        monkeypatch.setitem(TUNING, key, TUNING.get(key, {}) | changes)
        with tiny_models_on_gpu() as seen:
            (tmp_path / str(steps)).mkdir()
            subject = Subject(key=key, architecture="gptj", directory=tmp_path / str(steps))
            editor = subject.editor(stopping="never")
            seen.waits.clear()
            editor.edit(REQUESTS[:1])
        waits[steps] = seen.waits.total()
    assert waits[_MANY] - waits[_FEW] == _READS[key] * (_MANY - _FEW)


def test_a_run_has_the_scores_of_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_device = {}
    for device in ("cpu", "cuda"):
        (tmp_path / device).mkdir()
        monkeypatch.chdir(tmp_path / device)
        if device == "cuda":
            with simulated_gpu():
                assert main([*_RUN, "--device", "cuda"]) == 0
        else:
            assert main(_RUN) == 0
        by_device[device] = records()
    assert {r["provenance"]["hardware"]["device"] for r in by_device["cuda"]} == {"cuda"}
    assert _scores(by_device["cuda"]) == _scores(by_device["cpu"])
    assert len(_scores(by_device["cpu"])) == 4


def _scores(records: list[dict[str, Any]]) -> dict[str, Any]:
    return {record["cell"]["editor"]: record["summary"] for record in records}

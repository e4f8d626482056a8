"""Every editor trains, edits, answers, resets and continues on a GPU, in the CPU's numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench.checks.contract.clause import PAIRS
from bench.checks.contract.tiny import REQUESTS, TUNING, Subject, logits
from bench.core.numerics import fixed_arithmetic
from editors import registry
from editors.base import TrainableEditor
from tests.devices.on_gpu import tiny_models_on_gpu

# Few steps: training is to run and to agree, not to be good.
_SHORT = {"iterations": 4, "checkpoint_interval": 2, "patience": None}
_KEYS = registry.shipped()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in _KEYS:
        cls = registry.editor_class(key)
        if issubclass(cls, TrainableEditor):
            fields = cls.hparams_class.__dataclass_fields__
            short = {name: value for name, value in _SHORT.items() if name in fields}
            monkeypatch.setitem(TUNING, key, TUNING.get(key, {}) | short)


@pytest.mark.parametrize(
    ("key", "architecture"),
    [(key, "llama") for key in _KEYS]
    + [(key, other) for other in ("gptj", "gpt2") for key in ("rome", "recipe")],
)
def test_the_numbers_are_those_of_the_cpu(key: str, architecture: str, tmp_path: Path) -> None:
    with fixed_arithmetic(wanted=True):
        expected = _answers(Subject(key=key, architecture=architecture, directory=tmp_path / "cpu"))
        with tiny_models_on_gpu():
            subject = Subject(key=key, architecture=architecture, directory=tmp_path / "gpu")
            found = _answers(subject)
    for name, scores in expected.items():
        torch.testing.assert_close(found[name], scores)


def _answers(subject: Subject) -> dict[str, Tensor]:
    """Logits behind edits one at a time and several at once, a reset, and a stored state."""
    subject.directory.mkdir()
    editor = subject.editor()
    found = {"unedited": logits(editor, PAIRS)}
    editor.edit(REQUESTS[:1])
    editor.edit(REQUESTS[1:])
    found["edited"] = logits(editor, PAIRS)
    stored = {name: tensor.cpu() for name, tensor in editor.state_dict().items()}  # a checkpoint
    editor.reset()
    found["reset"] = logits(editor, PAIRS)
    editor.load_state_dict(stored)
    found["continued"] = logits(editor, PAIRS)
    return {name: scores.cpu() for name, scores in found.items()}

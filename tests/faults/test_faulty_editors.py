"""Editors that raise, run out of memory, diverge or do not reset: recorded, and others unharmed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from bench.cli.main import main
from editors import registry
from editors.base import EditRequest
from editors.parts.fast_paths import FastPaths
from tests.faults.grid import SilentError, Trial, results

pytestmark = pytest.mark.faults

FAULTS = "editors"
KEYS = ("ft", "rome", "grace")
AT = 2  # the first edit that goes wrong


Patch = Callable[[Any, pytest.MonkeyPatch], None]


def failing_edit(error: BaseException) -> Patch:
    """One edit raises after it was applied."""

    def patched(cls: Any, patch: pytest.MonkeyPatch) -> None:
        numbers = itertools.count(1)

        def fail(_: Any) -> None:
            if next(numbers) >= AT:
                raise error

        _after_edits(cls, patch, fail)

    return patched


def writing(write: Callable[[torch.Tensor], object]) -> Patch:
    """Every edit also writes to a weight that no reset restores."""

    @torch.no_grad()
    def change(editor: Any) -> None:
        write(editor.lm.module(editor.lm.architecture.final_norm).weight)

    return lambda cls, patch: _after_edits(cls, patch, change)


def _after_edits(cls: Any, patch: pytest.MonkeyPatch, act: Callable[[Any], None]) -> None:
    real = cls.edit

    def edit(self: Any, requests: Sequence[EditRequest]) -> None:
        real(self, requests)
        act(self)

    patch.setattr(cls, "prepare", FastPaths.prepare, raising=False)
    patch.setattr(cls, "edit", edit)


def failing_probing(error: BaseException) -> Patch:
    """Every probing raises in its middle."""

    def patched(cls: Any, patch: pytest.MonkeyPatch) -> None:
        real = cls.steering

        def fail() -> Iterator[None]:
            raise error

        @contextmanager
        def steering(self: Any, batch: Any) -> Iterator[None]:
            with real(self, batch):
                yield from fail()

        patch.setattr(cls, "steering", steering)

    return patched


def nan_answers(cls: Any, patch: pytest.MonkeyPatch) -> None:
    """Every answer is NaN while the edits are in place."""
    real = cls.steering

    @contextmanager
    def steering(self: Any, batch: Any) -> Iterator[None]:
        norm = self.lm.module(self.lm.architecture.final_norm)
        hook = norm.register_forward_hook(lambda _, __, output: output * torch.nan)
        try:
            with real(self, batch):
                yield
        finally:
            hook.remove()

    patch.setattr(cls, "steering", steering)


# The fault, and how the record names it.
FAULTY: dict[str, tuple[Patch, str]] = {
    "raises": (failing_edit(RuntimeError("no such luck")), "RuntimeError"),
    "no memory to edit": (failing_edit(MemoryError("too much")), "MemoryError"),
    "no memory to probe": (failing_probing(MemoryError("too much")), "MemoryError"),
    "no disk": (failing_edit(OSError("a file is gone")), "OSError"),
    "text of half a character": (failing_edit(ValueError("\ud800")), "ValueError"),
    "answers of NaN": (nan_answers, "diverged"),
    "weights of NaN": (writing(lambda weight: weight.fill_(torch.nan)), "ResetError"),
    "no reset of a bit": (writing(lambda weight: weight[:1].mul_(1 + 2**-20)), "ResetError"),
}


@pytest.mark.parametrize("key", KEYS)
def test_faulty_editors(key: str, trial: Trial) -> None:
    cls, other = registry.editor_class(key), KEYS[KEYS.index(key) - 1]
    for name, (fault, wanted) in FAULTY.items():
        out = trial.folder / name
        arguments = trial.home.arguments(out, (key, other))
        with trial.count.trying(f"{key}: {name}"):
            trial.capsys.readouterr()
            with pytest.MonkeyPatch.context() as patch:
                fault(cls, patch)
                code = main(arguments)
            keys = judge(key, wanted, results(out), trial.home.whole, code)
            assert main([*arguments, "--overwrite"]) == 0
            assert results(out) == {cell: trial.home.whole[cell] for cell in keys}
    trial.count.settle(len(FAULTY))


def judge(
    key: str, wanted: str, records: dict[str, Any], whole: dict[str, Any], code: int
) -> list[str]:
    """Fail unless the faulty editor's cells name the fault, and the others are as always."""
    assert len(records) == 4
    failed = 0
    for cell, record in records.items():
        status = record["status"]
        if record["cell"]["editor"] != key:
            if record != whole[cell]:
                raise SilentError("another editor's cell is not as always")
        elif status["state"] == "failed":
            failed += 1
            assert status["error"] == wanted
            assert "Traceback" in status["traceback"]
        else:
            blocks = record["health"]
            if wanted != "diverged" or any(block["effect"] is not None for block in blocks):
                raise SilentError(f"the record does not show it: {blocks}")
            assert all(block["diverged_at"] == 1 for block in blocks)
    assert failed in {0, 2}
    assert code == (1 if failed else 0)
    return list(records)

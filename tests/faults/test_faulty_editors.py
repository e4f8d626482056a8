"""Editors that raise, run out of memory, blow up or do not reset: recorded, harming no other."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli.main import main
from editors import registry
from editors.base import EditRequest
from editors.parts.fast_paths import FastPaths
from tests.faults.grid import Home, results
from tests.faults.tally import Count, SilentError

pytestmark = pytest.mark.faults

KEYS = ("ft", "rome", "grace")
AT = 2  # the edit, or the probing, that goes wrong


def failing_edit(error: BaseException) -> Callable[[Any, pytest.MonkeyPatch], None]:
    """Edits of which one raises when it has been made."""

    def spoilt(cls: Any, patch: pytest.MonkeyPatch) -> None:
        real, numbers = cls.edit, itertools.count(1)

        def edit(self: Any, requests: Sequence[EditRequest]) -> None:
            real(self, requests)
            if next(numbers) >= AT:
                raise error

        patch.setattr(cls, "prepare", FastPaths.prepare, raising=False)
        patch.setattr(cls, "edit", edit)

    return spoilt


def failing_probing(error: BaseException) -> Callable[[Any, pytest.MonkeyPatch], None]:
    """Probings of which one raises in its middle."""

    def spoilt(cls: Any, patch: pytest.MonkeyPatch) -> None:
        real, numbers = cls.steering, itertools.count(1)

        @contextmanager
        def steering(self: Any, batch: Any) -> Iterator[None]:
            with real(self, batch):
                if next(numbers) >= AT:
                    raise error
                yield

        patch.setattr(cls, "steering", steering)

    return spoilt


def no_numbers(cls: Any, patch: pytest.MonkeyPatch) -> None:
    """Every answer is NaN while the edits are in place."""
    real = cls.steering

    def steering(self: Any, batch: Any) -> AbstractContextManager[None]:
        @contextmanager
        def spoilt() -> Iterator[None]:
            norm = self.lm.module(self.lm.architecture.final_norm)
            hook = norm.register_forward_hook(lambda _, __, output: output * torch.nan)
            try:
                with real(self, batch):
                    yield
            finally:
                hook.remove()

        return spoilt()

    patch.setattr(cls, "steering", steering)


def weights_of_nan(cls: Any, patch: pytest.MonkeyPatch) -> None:
    """An edit writes NaN to a weight that no reset knows of."""
    _writing(cls, patch, lambda weight: weight.fill_(torch.nan))


def no_reset(cls: Any, patch: pytest.MonkeyPatch) -> None:
    """An edit leaves one bit of a weight changed."""
    _writing(cls, patch, lambda weight: weight[:1].mul_(1 + 2**-20))


def _writing(cls: Any, patch: pytest.MonkeyPatch, write: Callable[[Any], object]) -> None:
    real = cls.edit

    def edit(self: Any, requests: Sequence[EditRequest]) -> None:
        real(self, requests)
        with torch.no_grad():
            write(self.lm.module(self.lm.architecture.final_norm).weight)

    patch.setattr(cls, "prepare", FastPaths.prepare, raising=False)
    patch.setattr(cls, "edit", edit)


# The fault, and what the record must name.
FAULTS: dict[str, tuple[Callable[[Any, pytest.MonkeyPatch], None], str]] = {
    "raises": (failing_edit(RuntimeError("no such luck")), "RuntimeError"),
    "no memory to edit": (failing_edit(MemoryError("too much")), "MemoryError"),
    "no memory to probe": (failing_probing(MemoryError("too much")), "MemoryError"),
    "no disk": (failing_edit(OSError("a file is gone")), "OSError"),
    "text of half a character": (failing_edit(ValueError("\ud800")), "ValueError"),
    "no numbers": (no_numbers, "diverged"),
    "weights of NaN": (weights_of_nan, "ResetError"),
    "no reset": (no_reset, "ResetError"),
}


@pytest.mark.parametrize("key", KEYS)
def test_faulty_editors(
    key: str,
    home: Home,
    tally: defaultdict[str, Count],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    count, whole = tally["editors"], home.whole
    cls, other = registry.editor_class(key), KEYS[KEYS.index(key) - 1]
    for name, (spoil, wanted) in FAULTS.items():
        arguments = home.arguments(tmp_path / name, (key, other))
        with count.trying(f"{key}: {name}"):
            capsys.readouterr()
            with pytest.MonkeyPatch.context() as patch:
                spoil(cls, patch)
                code = main(arguments)
            found = results(tmp_path / name)
            judge(key, wanted, found, whole, code)
            assert main([*arguments, "--overwrite"]) == 0
            assert results(tmp_path / name) == {one: whole[one] for one in found}
    count.settle(len(FAULTS))


def judge(key: str, wanted: str, found: dict[str, Any], whole: dict[str, Any], code: int) -> None:
    """Fail unless the faulty editor's cells say what happened, and the others are as always."""
    assert len(found) == 4
    failed = 0
    for one, record in found.items():
        status = record["status"]
        if record["cell"]["editor"] != key:
            if record != whole[one]:
                raise SilentError("another editor's cell is not as always")
        elif status["state"] == "failed":
            failed += 1
            assert status["error"] == wanted
            assert "Traceback" in status["traceback"]
        else:
            if wanted != "diverged" or any(
                block["effect"] is not None for block in record["health"]
            ):
                raise SilentError(f"a record says nothing of it: {record['health']}")
            assert all(block["diverged_at"] == 1 for block in record["health"])
    assert failed in {0, 2}
    assert code == (1 if failed else 0)

"""Disks that are full or read-only at any moment of a run."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from safetensors import SafetensorError

from bench.cli.main import main
from bench.evaluation import caches
from tests.faults.grid import Home, Trial, assert_tidy, results

pytestmark = pytest.mark.faults

FAULTS = "disk"
EDITORS = ("ft", "rome")
WRITES = 20
SIZES = range(16, 144, 8)  # KiB; the grid takes some more with its caches
ENOUGH = "16m"


def mounted(*arguments: object) -> bool:
    """Whether a disk could be mounted so."""
    try:
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def stopped(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Fail unless a run ended as on a full disk: with code 2 and a sentence."""
    printed = capsys.readouterr().err
    lines = printed.splitlines()
    assert code == 2, printed
    assert lines[-1].startswith("error: "), printed
    assert "Traceback" not in printed, printed
    assert not any(line.startswith("failed: ") for line in lines), printed


def assert_continues(home: Home, out: Path, before: dict[str, Any]) -> None:
    """The same command continues, and finished results remain."""
    assert before.items() <= results(out).items()
    caches._opened.cache_clear()
    assert main(home.arguments(out, EDITORS)) == 0
    assert results(out) == {key: home.whole[key] for key in results(out)}
    assert len(results(out)) == 4
    assert_tidy(out)


class Full:
    """Calls that fail from the n-th on."""

    def __init__(self, first: int, number: int) -> None:
        self.left = first - 1
        self.number = number

    def standing_in(self, real: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.left -= 1
            if self.left >= 0:
                return real(*arguments)
            if kind == "tensors":  # as the library words it
                raise SafetensorError(
                    f"Error while serializing: I/O error: {os.strerror(self.number)} "
                    f"(os error {self.number})"
                )
            raise OSError(self.number, os.strerror(self.number))

        return call


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_writes_that_fail(number: int, trial: Trial) -> None:
    assert trial.home.whole
    every = range(1, WRITES + 1, 1 if number == errno.ENOSPC else 5)
    for first in every:
        trial.patch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(trial.folder / f"cache-{first}"))
        caches._opened.cache_clear()
        out, full = trial.folder / f"out-{first}", Full(first, number)
        with trial.count.trying(f"{os.strerror(number)} from write {first} on"):
            trial.capsys.readouterr()
            with trial.patch.context() as patch:
                patch.setattr(os, "fsync", full.standing_in(os.fsync, "file"))
                real = safetensors.torch.save_file
                patch.setattr(safetensors.torch, "save_file", full.standing_in(real, "tensors"))
                code = main(trial.home.arguments(out, EDITORS))
            stopped(code, trial.capsys)
            assert_continues(trial.home, out, results(out))
    trial.count.settle(len(every))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if not mounted("-t", "tmpfs", "-o", f"size={ENOUGH}", "tmpfs", place):
        pytest.skip("mounting a small disk is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_small_disks(disk: Path, trial: Trial) -> None:
    assert trial.home.whole
    ended = set()
    for size in SIZES:
        place = disk / f"of-{size}"
        place.mkdir()
        options = f"size={size + trial.chance.randrange(8)}k"
        assert mounted("-t", "tmpfs", "-o", options, "tmpfs", place)
        trial.patch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(place / "cache"))
        caches._opened.cache_clear()
        with trial.count.trying(f"a disk of {size} KiB"):
            trial.capsys.readouterr()
            code = main(trial.home.arguments(place / "out", EDITORS))
            ended.add(code)
            if code:
                stopped(code, trial.capsys)
            before = results(place / "out")
            assert mounted("-o", f"remount,size={ENOUGH}", place)
            assert_continues(trial.home, place / "out", before)
        subprocess.run(["umount", str(place)], check=True)
    assert 2 in ended
    trial.count.settle(len(SIZES))


def test_read_only_disks(disk: Path, trial: Trial) -> None:
    out = disk / "out"
    keys = sorted(key for key, r in trial.home.whole.items() if r["cell"]["editor"] in EDITORS)
    trial.patch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(disk / "cache"))
    for missing in keys:
        caches._opened.cache_clear()
        assert main(trial.home.arguments(out, EDITORS)) == 0
        (out / f"{missing}.json").unlink()
        before = results(out)
        with trial.count.trying(f"a read-only disk without {missing}"):
            assert mounted("-o", "remount,ro", disk)
            trial.capsys.readouterr()
            stopped(main(trial.home.arguments(out, EDITORS)), trial.capsys)
            assert mounted("-o", "remount,rw", disk)
            assert_continues(trial.home, out, before)
    trial.count.settle(len(keys))

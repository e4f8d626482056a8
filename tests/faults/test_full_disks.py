"""Disks that are full or read-only at any moment of a run."""

from __future__ import annotations

import errno
import os
import random
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from safetensors import SafetensorError

from bench.cli.main import main
from bench.evaluation import caches
from tests.core.test_small_disk import mounted
from tests.faults.grid import Home, assert_tidy, results
from tests.faults.tally import Count

pytestmark = pytest.mark.faults

EDITORS = ("ft", "rome")
WRITES = 20
SIZES = range(16, 144, 8)  # KiB; the grid takes some more with its caches
ENOUGH = "16m"


def stopped(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Fail where a run has not ended as on a full disk: a code, a sentence."""
    said = capsys.readouterr().err.splitlines()
    assert code == 2, said
    assert said[-1].startswith("error: "), said
    assert not any("Traceback" in line for line in said), said
    assert not any(line.startswith("failed: ") for line in said), said


def assert_continues(home: Home, out: Path, there: dict[str, Any]) -> None:
    """The same command goes on, and what was finished stays."""
    now = results(out)
    assert there.items() <= now.items()
    caches._opened.cache_clear()
    assert main(home.arguments(out, EDITORS)) == 0
    assert results(out) == {key: home.whole[key] for key in results(out)}
    assert len(results(out)) == 4
    assert_tidy(out)


class Full:
    """Calls that fail from the n-th on, until there is room again."""

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
def test_writes_that_fail(
    number: int,
    home: Home,
    tally: defaultdict[str, Count],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    count, whole = tally["disk"], home.whole
    assert whole
    every = range(1, WRITES + 1) if number == errno.ENOSPC else range(1, WRITES + 1, 5)
    for first in every:
        monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / f"cache-{first}"))
        caches._opened.cache_clear()
        out, full = tmp_path / f"out-{first}", Full(first, number)
        with count.trying(f"{os.strerror(number)} from write {first} on"):
            capsys.readouterr()
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", full.standing_in(os.fsync, "file"))
                real = safetensors.torch.save_file
                patch.setattr(safetensors.torch, "save_file", full.standing_in(real, "tensors"))
                code = main(home.arguments(out, EDITORS))
            stopped(code, capsys)
            assert_continues(home, out, results(out))
    count.settle(len(every))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if not mounted("-t", "tmpfs", "-o", f"size={ENOUGH}", "tmpfs", place):
        pytest.skip("mounting a small disk is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_small_disks(
    home: Home,
    tally: defaultdict[str, Count],
    chance: random.Random,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    count, whole = tally["disk"], home.whole
    assert whole
    ended = set()
    for size in SIZES:
        place = disk / f"of-{size}"
        place.mkdir()
        assert mounted("-t", "tmpfs", "-o", f"size={size + chance.randrange(8)}k", "tmpfs", place)
        monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(place / "cache"))
        caches._opened.cache_clear()
        with count.trying(f"a disk of {size} KiB"):
            capsys.readouterr()
            code = main(home.arguments(place / "out", EDITORS))
            ended.add(code)
            if code:
                stopped(code, capsys)
            there = results(place / "out")
            assert mounted("-o", f"remount,size={ENOUGH}", place)
            assert_continues(home, place / "out", there)
        subprocess.run(["umount", str(place)], check=True)
    assert 2 in ended
    count.settle(len(SIZES))


def test_read_only_disks(
    home: Home,
    tally: defaultdict[str, Count],
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    count, out = tally["disk"], disk / "out"
    keys = sorted(key for key, one in home.whole.items() if one["cell"]["editor"] in EDITORS)
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(disk / "cache"))
    for missing in keys:
        caches._opened.cache_clear()
        assert main(home.arguments(out, EDITORS)) == 0
        (out / f"{missing}.json").unlink()
        there = results(out)
        with count.trying(f"a read-only disk without {missing}"):
            assert mounted("-o", "remount,ro", disk)
            capsys.readouterr()
            stopped(main(home.arguments(out, EDITORS)), capsys)
            assert mounted("-o", "remount,rw", disk)
            assert_continues(home, out, there)
    count.settle(len(keys))

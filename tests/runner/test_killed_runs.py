"""Runs that get real signals, and how the same command continues from what they left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.cli.main import main
from editors.base import EditRequest
from editors.ft import FtEditor
from tests.datasets.example_rows import write, zsre_row
from tests.support.console import warnings_in
from tests.support.tiny_files import save_tiny

EDITS = 20
SECONDS = 120  # that a run may take on a busy machine


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and data."""
    home = tmp_path_factory.mktemp("home")
    save_tiny("llama", home / "tiny")
    rows = [zsre_row(subject=f"Place {i}", alt=f"Port {i}") for i in range(EDITS)]
    write(home / "data", "zsre", "test", rows)
    return home


@pytest.fixture(scope="module")
def whole(home: Path) -> list[dict[str, Any]]:
    """Results of two cells that nothing happened to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*cache(home))
        assert main(arguments(home, home / "whole")) == 0
    return results(home / "whole")


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Path:
    monkeypatch.setenv(*cache(home))
    return tmp_path / "out"


def cache(home: Path) -> tuple[str, str]:
    return "LIFELONG_EDIT_BENCH_CACHE", str(home / "cache")


def arguments(home: Path, out: Path, jobs: int = 1) -> list[str]:
    return [
        *("run", "--table", "1", "--backbone", str(home / "tiny")),
        *("--data-dir", str(home / "data"), "--editors", "ft", "--datasets", "zsre"),
        *("--edits", str(EDITS), "--limit", str(EDITS), "--n-seeds", "2"),
        *("--hparam", "ft.num_steps=30", "--checkpoint-edits", "3", "--out", str(out)),
        *("--jobs", str(jobs)),
    ]


def signalled(home: Path, out: Path, number: signal.Signals) -> tuple[int, str, list[int]]:
    """Exit code, messages and workers of a run of its own that gets a signal while it edits."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments(home, out, jobs=2)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            wait_for(lambda: bool(checkpoints(out)) or process.poll() is not None)
            workers = children(process.pid)
            process.send_signal(number)
            _, err = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    return process.returncode, err, workers


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    """Of a process on Linux; elsewhere none are known."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [*map(int, path.read_text().split())] if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # none of one that has ended
    except OSError:
        return False


def checkpoints(out: Path) -> list[Path]:
    return sorted((out / "checkpoints").glob("*.safetensors"))


def results(out: Path) -> list[dict[str, Any]]:
    """All of the records but times and provenance."""
    return [_untimed(json.loads(path.read_text())) for path in sorted(out.glob("*.json"))]


def _untimed(record: dict[str, Any]) -> dict[str, Any]:
    for row in record["rows"]:
        del row["edit_seconds"]
    del record["provenance"], record["digest"]
    return record


@pytest.fixture
def assert_continues(
    home: Path, out: Path, whole: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> Callable[[], None]:
    """That the same command continues, and ends as a run that nothing happened to."""

    def check() -> None:
        capsys.readouterr()
        assert main(arguments(home, out)) == 0
        assert warnings_in(capsys.readouterr().err) == ""
        assert results(out) == whole
        assert [*(out / "checkpoints").iterdir()] == []

    return check


@pytest.mark.slow
def test_a_killed_run_leaves_no_worker_and_goes_on(
    home: Path, out: Path, assert_continues: Callable[[], None]
) -> None:
    code, _, workers = signalled(home, out, signal.SIGKILL)
    assert code == -signal.SIGKILL
    wait_for(lambda: not any(map(is_alive, workers)))
    assert checkpoints(out)
    assert results(out) == []
    assert_continues()


def test_workers_of_a_terminated_run_store_their_last_edit(
    home: Path, out: Path, assert_continues: Callable[[], None]
) -> None:
    code, err, _ = signalled(home, out, signal.SIGTERM)
    assert code == 143
    assert "stopped: 0 of 2 cells are done" in err
    assert "the same command continues." in err
    assert results(out) == []
    assert_continues()


def test_an_interrupted_run_in_this_process_stores_its_last_edit(
    home: Path,
    out: Path,
    assert_continues: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, edit, edits = signal.getsignal(signal.SIGINT), FtEditor.edit, []

    def interrupted(editor: FtEditor, requests: Sequence[EditRequest]) -> None:
        edit(editor, requests)
        edits.append(requests)
        if len(edits) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(FtEditor, "edit", interrupted)
    assert main(arguments(home, out)) == 130
    assert "stopped: 0 of 2 cells are done" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) == before
    assert (len(checkpoints(out)), results(out)) == (1, [])
    assert_continues()
    assert len(edits) == 2 * EDITS


def test_deterministic_arithmetic_is_recorded_and_ends_with_the_run(
    home: Path, out: Path, whole: list[dict[str, Any]]
) -> None:
    assert main([*arguments(home, out), "--deterministic"]) == 0
    assert results(out) == whole
    records = [json.loads(path.read_text()) for path in out.glob("*.json")]
    assert [record["provenance"]["deterministic"] for record in records] == [True, True]
    assert not torch.are_deterministic_algorithms_enabled()

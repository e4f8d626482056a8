"""What starting costs, and how much memory the default Table 1 takes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from statistics import median

import psutil

from benchmarks.lines import Line, at_most

NAME, RUN = "startup", "table1"
REPEATS = 5
LIST_S = 1.0
RUN_BYTES = 2e9
RUN_S = 360.0
_BENCH = (sys.executable, "-m", "bench")


def startup() -> Iterator[Line]:
    """Seconds of importing the package and of listing what it has; no model is loaded."""
    commands = {
        "python -c 'import bench'": (sys.executable, "-c", "import bench"),
        "python -m bench list": (*_BENCH, "list"),
        "python -m bench tables --table 1 --reference": (
            *_BENCH,
            *("tables", "--table", "1", "--reference", "--markdown"),
        ),
    }
    bare = (sys.executable, "-c", "pass")
    for name, command in commands.items():
        pairs = [(_seconds(command), _seconds(bare)) for _ in range(REPEATS)]
        ours, python = (median(side) for side in zip(*pairs, strict=True))
        line = Line(
            benchmark=NAME,
            subject=name,
            figure="s",
            ours=ours,
            note=f"Python itself: {python:.2f} s",
        )
        yield at_most(line, LIST_S, f"{LIST_S:g} s") if name.endswith("list") else line


def table1() -> Iterator[Line]:
    """The default Table 1 in an empty directory: wall seconds and peak resident memory."""
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as empty:
        environment = os.environ | {"LIFELONG_EDIT_BENCH_CACHE": empty}
        start = time.perf_counter()
        process = subprocess.Popen(
            [*_BENCH, "run", "--table", "1", "--out", out],
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.2)
        seconds = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    name = "python -m bench run --table 1"
    wall = Line(
        benchmark=RUN,
        subject=name,
        figure="s",
        ours=seconds,
        note=f"{os.cpu_count()} cores, empty cache",
    )
    yield at_most(wall, RUN_S, f"{RUN_S / 60:g} min")
    memory = Line(
        benchmark=RUN,
        subject=name,
        figure="bytes resident, of all processes",
        ours=float(peak),
        note="highest sum; shared pages count once",
    )
    yield at_most(memory, RUN_BYTES, f"{RUN_BYTES / 1e9:g} GB")


def _seconds(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _resident(process: int) -> int:
    """Bytes of a process and all it started; a shared page is divided among those that share it."""
    total = 0
    try:
        root = psutil.Process(process)
        for one in (root, *root.children(recursive=True)):
            total += one.memory_full_info().pss
    except psutil.Error:  # one has just ended
        return 0
    return total

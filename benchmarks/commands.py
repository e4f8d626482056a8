"""What whole commands cost: starting, the default Table 1, and the report with its pages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench.core.console import warn
from benchmarks.measure import Line

STARTUP, TABLE1, REPORT = "startup", "table1", "report"
REPEATS = 5
LIST_S = 1.0
RUN_BYTES = 2e9
RUN_S = 360.0
OPENED = 3  # times that a page is opened
OPEN_S = 2.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGES = ("index.html", "table1.html", "metric-loss.html", "edits-mini-llama.html", "audit.html")
_BENCH = (sys.executable, "-m", "bench")
_LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def startup() -> Iterator[Line]:
    """Seconds of importing the package and of printing lists and tables; no model is loaded."""
    tables = ("tables", "--table", "1", "--reference", "--markdown")
    commands = {
        "python -c 'import bench'": (sys.executable, "-c", "import bench"),
        "python -m bench list": (*_BENCH, "list"),
        "python -m bench tables --table 1 --reference": (*_BENCH, *tables),
    }
    bare = (sys.executable, "-c", "pass")
    for name, command in commands.items():
        pairs = [(_seconds(command), _seconds(bare)) for _ in range(REPEATS)]
        ours, python = (median(side) for side in zip(*pairs, strict=True))
        line = Line(STARTUP, name, "s", ours, note=f"Python itself: {python:.2f} s")
        yield line.at_most(LIST_S, f"{LIST_S:g} s") if name.endswith("list") else line


def table1() -> Iterator[Line]:
    """The default Table 1 in an empty directory: wall seconds and peak resident memory."""
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryDirectory() as empty:
        environment = os.environ | {"LIFELONG_EDIT_BENCH_CACHE": empty}
        command = [*_BENCH, "run", "--table", "1", "--out", out]
        start, peak = time.perf_counter(), 0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.2)
        seconds = time.perf_counter() - start
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    name, note = "python -m bench run --table 1", f"{os.cpu_count()} cores, empty cache"
    yield Line(TABLE1, name, "s", seconds, note=note).at_most(RUN_S, f"{RUN_S / 60:g} min")
    figure, note = "bytes resident, of all processes", "highest sum; shared pages count once"
    memory = Line(TABLE1, name, figure, float(peak), note=note)
    yield memory.at_most(RUN_BYTES, f"{RUN_BYTES / 1e9:g} GB")


def report() -> Iterator[Line]:
    """The report of the committed results: seconds to write, bytes, seconds to open its pages."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report"
        seconds = _seconds((*_BENCH, "report", "--out", str(out)))
        yield Line(REPORT, "python -m bench report", "s", seconds)
        files = [path for path in out.rglob("*") if path.is_file()]
        size = float(sum(path.stat().st_size for path in files))
        yield Line(REPORT, "the folder", "bytes", size, note=f"{len(files)} files")
        yield from _opened(out)


def _opened(out: Path) -> Iterator[Line]:
    """Seconds to the load event of the largest pages; none without a browser or its driver."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        warn("pages are not opened: playwright is in the dependency group `browser`.")
        return
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        warn(f"pages are not opened: none of {', '.join(BROWSERS)} is on the path.")
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name in PAGES:
            seconds = median(_load(browser, out / name) for _ in range(OPENED))
            line = Line(REPORT, name, "s to the load event", seconds, note="headless Chromium")
            yield line.at_most(OPEN_S, f"{OPEN_S:g} s")
        browser.close()


def _load(browser: Any, path: Path) -> float:
    page = browser.new_page()
    page.goto(path.as_uri())
    seconds = float(page.evaluate(_LOADED)) / 1000
    page.close()
    return seconds


def _seconds(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def _resident(pid: int) -> int:
    """Bytes of a process and its descendants; a shared page is divided among its users."""
    try:
        root = psutil.Process(pid)
        processes = (root, *root.children(recursive=True))
        return sum(process.memory_full_info().pss for process in processes)
    except psutil.Error:  # a process has just ended
        return 0

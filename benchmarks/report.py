"""What the report of the committed results costs: to write, to keep, and to open."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench.core.console import warn
from benchmarks.lines import Line, at_most

NAME = "report"
REPEATS = 3
OPEN_S = 2.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGES = ("index.html", "table1.html", "metric-loss.html", "edits-mini-llama.html", "audit.html")
_LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def report() -> Iterator[Line]:
    """Seconds and bytes of the folder, then seconds to the load event of its largest pages."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report"
        start = time.perf_counter()
        command = [sys.executable, "-m", "bench", "report", "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        yield _line("python -m bench report", "s", time.perf_counter() - start)
        files = [path for path in out.rglob("*") if path.is_file()]
        size = float(sum(path.stat().st_size for path in files))
        yield _line("the folder", "bytes", size, f"{len(files)} files")
        yield from _opened(out)


def _opened(out: Path) -> Iterator[Line]:
    """Nothing where there is no browser or nothing to drive it with."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        warn("pages are not opened: playwright is in the dependency group `browser`.")
        return
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        warn(f"pages are not opened: none of {', '.join(BROWSERS)} is on the path.")
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for name in PAGES:
            seconds = median(_load(browser, out / name) for _ in range(REPEATS))
            line = _line(name, "s to the load event", seconds, "Chromium without a head")
            yield at_most(line, OPEN_S, f"{OPEN_S:g} s")
        browser.close()


def _load(browser: Any, place: Path) -> float:
    page = browser.new_page()
    page.goto(place.as_uri())
    found = float(page.evaluate(_LOADED)) / 1000
    page.close()
    return found


def _line(subject: str, figure: str, value: float, note: str = "") -> Line:
    return Line(benchmark=NAME, subject=subject, figure=figure, ours=value, note=note)

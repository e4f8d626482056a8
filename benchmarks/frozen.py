"""Freeze what the commands write, and compare it with what another state of the code writes.

    python -m benchmarks.frozen write DIR        about ten minutes on two cores
    python -m benchmarks.frozen compare DIR      the same again, and every difference

Records, tables, figures, exported references and the published audit are written by the commands
themselves. Records are compared without provenance and times, everything else byte by byte. Numbers
agree to the last digit on one machine alone, so the frozen files are not committed;
`tests/test_frozen.py` holds the part that every machine agrees on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

TABLES = (1, 2, 3, 4, 5, 6)
RUNS: dict[str, tuple[str, ...]] = {
    "table1": ("--table=1", "--with-recent", "--edits=1,2", "--limit=2"),
    "measures": (
        "--table=1", "--editors=ft,recipe,grace", "--edits=2", "--limit=2",
        "--measure=retention,collapse,conflicts,distance",
    ),
    "table2": ("--table=2", "--editors=ft,recipe,grace", "--edits=2", "--task-limit=5"),
    "lm-eval": (
        "--table=2", "--editors=ft", "--edits=2", "--task-limit=5", "--scoring=lm-eval",
    ),
    "table3": ("--table=3", "--editors=ft,recipe", "--edits=2"),
    "table4": ("--table=4", "--edits=2", "--limit=4"),
    "table5": ("--table=5", "--editors=ft,rome,recipe", "--edits=2", "--limit=2"),
    "table6": ("--table=6", "--editors=memit,grace,lte", "--edits=2", "--limit=2"),
}  # fmt: skip
VIEWS: dict[str, tuple[str, ...]] = {
    "averages": ("--averages", "--markdown"),
    "by-type": ("--by-type",),
    "correlate": ("--correlate",),
    "significance": ("--significance",),
    "metric-loss": ("--metric-loss", "--markdown"),
    "generated": ("--metric=generated", "--markdown"),
    "recent": ("--with-recent", "--markdown"),
}
# Of a record: what differs between two runs of the same code.
_VARYING = {"provenance", "digest", "seconds", "edit_seconds", "mark", "sealed"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 where something differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frozen", description=__doc__)
    parser.add_argument("action", choices=("write", "compare"))
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--checkout", type=Path, default=Path.cwd(), help="default: this one")
    args = parser.parse_args(arguments)
    if args.action == "write":
        write(args.directory, args.checkout)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), args.checkout)
        lines = [*differences(args.directory, Path(folder))]
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{len(lines)} differences\n")
    return int(bool(lines))


def write(directory: Path, checkout: Path) -> None:
    """Run the commands of a checkout and put what they write under `directory`."""
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    for name, words in RUNS.items():
        _bench(checkout, "run", *words, f"--out={directory / 'runs' / name}")
    for number in TABLES:
        place = directory / "reference" / f"table{number}"
        table = ("tables", f"--table={number}", "--reference")
        text = _bench(checkout, *table, f"--out={place}")
        _text(place / "terminal.txt", text.replace(str(directory), "DIR"))
        _bench(checkout, *table, f"--export={place / 'export.jsonl'}")
    for number in (1, 5, 6):
        for name, words in VIEWS.items():
            place = directory / "views" / f"table{number}"
            view = (*words, "--reference", f"--out={place}")
            text = _bench(checkout, "tables", f"--table={number}", *view)
            _text(place / f"{name}.txt", text.replace(str(directory), "DIR"))
    _bench(checkout, "figures", f"--out={directory / 'figures'}")
    _text(directory / "audit.txt", _bench(checkout, "audit"))
    _text(directory / "plan.txt", _bench(checkout, "plan", "--table=1", "--preset=paper"))


def differences(before: Path, after: Path) -> Iterator[str]:
    """One line for each file that is in one of two folders alone, or has other content."""
    there, here = _files(before), _files(after)
    yield from (f"missing: {name}" for name in sorted(there - here))
    yield from (f"new: {name}" for name in sorted(here - there))
    for name in sorted(there & here):
        a, b = before / name, after / name
        if name.startswith("runs/") and name.endswith(".json"):
            yield from (f"{name}: {place}" for place in _record_differences(a, b))
        elif not name.startswith("runs/table3/") and a.read_bytes() != b.read_bytes():
            yield f"differs: {name}"


def _files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".png"  # the SVG beside it holds the same drawing
    }


def _record_differences(before: Path, after: Path) -> Iterator[str]:
    there, here = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    if there["cell"].get("kind") == "timing":  # seconds are all it measures
        there, here = ({"cell": record["cell"], "key": record["key"]} for record in (there, here))
    yield from _unequal(there, here, "")


def _unequal(there: Any, here: Any, place: str) -> Iterator[str]:
    """Places of two JSON values at which they differ, apart from times."""
    if isinstance(there, dict) and isinstance(here, dict):
        for name in sorted({*there, *here} - _VARYING):
            yield from _unequal(there.get(name), here.get(name), f"{place}.{name}")
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for i, (a, b) in enumerate(zip(there, here, strict=True)):
            yield from _unequal(a, b, f"{place}[{i}]")
    elif there != here:
        yield place


def _bench(checkout: Path, *words: str) -> str:
    """Standard output of a command that ends well.

    Raises:
        RuntimeError: it does not.
    """
    environment = os.environ | {
        "PYTHONPATH": str(checkout.absolute()), "COLUMNS": "200", "NO_COLOR": "1",
        "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1",
    }  # fmt: skip
    sys.stderr.write(f"{' '.join(words)}\n")
    ran = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        cwd=checkout, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if ran.returncode != 0:
        raise RuntimeError(f"{' '.join(words)} ended with {ran.returncode}: {ran.stderr[-2000:]}")
    return ran.stdout


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

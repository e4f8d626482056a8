"""How the package is laid out, measured from the code itself.

    python -m benchmarks structure

Lines, rooms and imports are counted in the sources; the path of one request is traced while one
cell of Table 1 is run. `tests/test_structure.py` holds the limits.
"""

from __future__ import annotations

import ast
import re
import sys
import tempfile
import threading
from collections.abc import Container, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# From the ground up: a room imports only rooms that stand before it here.
ROOMS = (
    "core", "datasets", "world", "models", "evaluation", "store", "tables", "runner", "checks",
    "report", "cli",
)  # fmt: skip
SHORT = 60  # lines; a shorter file is a paragraph rather than a chapter
# Folders whose files are registry entries, each its own idea however short; and constants.
ENTRIES = (
    "bench/cli/", "bench/datasets/", "bench/evaluation/metric_sets/",
    "bench/evaluation/general_ability/sets/", "bench/report/plots/", "bench/core/variants.py",
)  # fmt: skip
CELL = (
    "run", "--table", "1", "--editors", "rome", "--datasets", "zsre", "--edits", "1", "--limit",
    "1", "--jobs", "1",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure and the most that it may be."""

    name: str
    value: int
    limit: int

    @property
    def holds(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value <= self.limit


def counted() -> list[Measure]:
    """Everything that needs no run."""
    flat = [path.name for path in (ROOT / "bench").glob("*.py")]
    rooms = [path.name for path in (ROOT / "bench").iterdir() if (path / "__init__.py").is_file()]
    short = [name for name in short_files() if not name.startswith(ENTRIES)]
    words = sum(1 for _ in private_words())
    return [
        Measure(name="modules flat in bench/", value=len(flat), limit=5),
        Measure(name="rooms under bench/", value=len(rooms), limit=12),
        Measure(name="imports that run upward", value=len(upward_imports()), limit=0),
        Measure(name="import circles", value=len(import_circle()), limit=0),
        Measure(name=f"files under {SHORT} lines", value=len(short), limit=10),
        Measure(name="source lines of bench", value=lines_of("bench"), limit=32_300),
        Measure(name="source lines of editors", value=lines_of("editors"), limit=15_250),
        Measure(name="source lines of tests", value=lines_of("tests"), limit=35_700),
        Measure(name="lines of README", value=_lines(ROOT / "README.md"), limit=150),
        Measure(name="words of a private language", value=words, limit=0),
    ]


def traced() -> list[Measure]:
    """What one cell of Table 1 enters: project files, and frames from `main` to `run_cell`."""
    entered, frames = trace_cell()
    return [
        Measure(name="project files entered by one cell", value=len(entered), limit=62),
        Measure(name="frames from main to run_cell", value=frames, limit=8),
    ]


def lines_of(package: str) -> int:
    """Lines of all Python files of a top-level package."""
    return sum(_lines(path) for path in _sources(package))


def short_files() -> list[str]:
    """Python files of the package below `SHORT` lines that say more than a docstring."""
    return [
        path.relative_to(ROOT).as_posix()
        for package in ("bench", "editors")
        for path in _sources(package)
        if _lines(path) < SHORT and len(_tree(path).body) > 1
    ]


def upward_imports() -> list[tuple[str, str]]:
    """(file, imported module) of imports of a room from one that stands after it in `ROOMS`."""
    found = []
    for path in _sources("bench"):
        room = path.relative_to(ROOT / "bench").parts[0]
        if room not in ROOMS:
            continue
        for module in sorted(set(_imported(_tree(path)))):
            above = module.split(".")[1] if module.startswith("bench.") else ""
            if above in ROOMS and ROOMS.index(above) > ROOMS.index(room):
                found.append((path.relative_to(ROOT).as_posix(), module))
    return found


def import_circle() -> list[str]:
    """Modules of one circle of imports, empty where there is none.

    Imports for types alone do not run, and those inside functions do.
    """
    names = {_module(path): path for package in ("bench", "editors") for path in _sources(package)}
    graph = {
        name: {
            found
            for target in _imported(_tree(path), types=False)
            if (found := _known(target, names))
        }
        - {name}
        for name, path in names.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]]
    return []


# ---- words -----------------------------------------------------------------------------------

# Plain words of the field stand in for these: after, reported, cached, computed, corrupted.
WORDS = re.compile(
    r"\b(behind|told|tells|kept|keeps|made|spoilt|spoils|said of|the dead|what is lost)\b",
    re.IGNORECASE,
)
NAMES = {"one", "found"}  # of variables
PROSE = ("README.md", "CONTRIBUTING.md", "docs", "examples", "bench", "editors", "benchmarks")
# Where such a word is data or a name in files that exist: text -> reason.
ALLOWED = {
    "retrieval-keeps-locality": "id of a claim, pinned in claims.json",
    "t-patcher-keeps-edits": "likewise",
    "general-ability-kept": "likewise",
    '"made": self.computed': "name in the findings of the audit, which are pinned",
    '"made"': "name in the progress of a checkpoint",
    '"made_by"': "name in the file by which a report knows its own folder",
    '"behind", "before"': "names of scores in the manifest of the shipped models",
    'place == "behind"': "likewise",
    "    found: int  # of them have a record": "name in the events of `--log-json`",
}
# Files with such words for a reason of their own.
EXEMPT = {
    "benchmarks/structure.py": "lists the words",
    "bench/world/ability_items.py": "texts of the embedded world, whose digests are in records",
}


def private_words() -> Iterator[tuple[str, int, str]]:
    """(file, line, word) of each word or variable name that plain English would say otherwise."""
    for path in _texts():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(tuple(EXEMPT)):
            continue
        text = _without_allowed(path.read_text(encoding="utf-8"))
        for number, line in enumerate(text.splitlines(), start=1):
            for match in WORDS.finditer(line.replace("_", " ")):
                yield name, number, match.group().lower()
        if path.suffix == ".py":
            for number, variable in sorted(_variables(ast.parse(text))):
                if variable in NAMES:
                    yield name, number, variable


def _without_allowed(text: str) -> str:
    """The text, where each allowed phrase has lost the words and names it is allowed for."""
    for phrase in ALLOWED:
        text = text.replace(
            phrase, re.sub(rf"{WORDS.pattern}|found", "_", phrase.replace("_", " "))
        )
    return text


def _texts() -> Iterator[Path]:
    for place in PROSE:
        path = ROOT / place
        if path.is_file():
            yield path
        else:
            yield from (p for p in sorted(path.rglob("*")) if p.suffix in {".py", ".md"})


def _variables(tree: ast.AST) -> set[tuple[int, str]]:
    """(line, name) of names that a file binds: variables, arguments, loop variables."""
    bound = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add((node.lineno, node.id))
        elif isinstance(node, ast.arg):
            bound.add((node.lineno, node.arg))
    return bound


# ---- the path of one request -----------------------------------------------------------------


def trace_cell() -> tuple[set[str], int]:
    """Project files of which a function ran, and frames from `main` to `run_cell`."""
    from bench.cli.main import main as bench_main

    entered: set[str] = set()
    frames: list[int] = []

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        name = code.co_filename.removeprefix(f"{ROOT}/")
        if event != "call" or not name.startswith(("bench/", "editors/")):
            return
        if code.co_name == "run_cell":
            frames.append(_frames_to(frame, "main"))
        if not code.co_name.startswith("<") and not code.co_name[0].isupper():
            entered.add(name)  # a function, not a module or class body that is only defined

    with tempfile.TemporaryDirectory() as folder:
        threading.setprofile(profile)
        sys.setprofile(profile)
        try:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                code = bench_main([*CELL, "--out", folder])
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    if code != 0 or not frames:
        raise RuntimeError(f"{' '.join(CELL)} ended with {code} and ran {len(frames)} cells.")
    return entered, frames[0]


def _frames_to(frame: FrameType, name: str) -> int:
    """Frames from the outermost function of that name to `frame`, both counted."""
    stack = []
    at: FrameType | None = frame
    while at is not None:
        stack.append((at.f_code.co_name, at.f_code.co_filename))
        at = at.f_back
    outermost = max(
        i for i, (code, file) in enumerate(stack) if code == name and f"{ROOT}/bench/" in file
    )
    return outermost + 1


# ---- sources ---------------------------------------------------------------------------------


def _sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _module(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _known(target: str, names: Container[str]) -> str | None:
    """The module that an imported name is, or is defined in."""
    return next((name for name in (target, target.rpartition(".")[0]) if name in names), None)


def _imported(node: ast.AST, *, types: bool = True) -> Iterator[str]:
    """Imported names with their modules; without `types`, none of `if TYPE_CHECKING`."""
    if not types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr):  # expressions hold no imports
            yield from _imported(child, types=types)


def main() -> int:
    """Print the table; exit code 1 where a limit does not hold."""
    found = [*counted(), *traced()]
    for measure in found:
        limit = f"at most {measure.limit:,}"
        mark = " " if measure.holds else "!"
        sys.stdout.write(f"{mark} {measure.name:40s} {measure.value:>8,}  {limit}\n")
    return int(not all(measure.holds for measure in found))


if __name__ == "__main__":
    sys.exit(main())

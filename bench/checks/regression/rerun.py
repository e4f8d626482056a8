"""A part of the reference run again, and each record compared with the committed one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bench.core.cells import Cell, CellKey
from bench.core.config import RunConfig
from bench.core.grids import Table, row_variant
from bench.evaluation.jobs import EditJob, Job
from bench.runner.executors.local import LocalExecutor
from bench.runner.observers import Display
from bench.runner.planning import Planner, points
from bench.runner.run import execute, largest_first
from bench.store.reference import compact, table_records
from bench.store.results import Record, ResultStore, is_complete
from bench.world.store import assets_dir

Verdict = Literal["equal", "near", "differs", "stale", "failed", "left out"]
# Scores in [0, 1] that may differ between other versions or CPUs, where a near tie falls the other
# way (ours: two points).
TOLERANCE = 0.02
GOOD: tuple[Verdict, ...] = ("equal", "near", "left out")


# Cells of any table that take seconds each: every editor once, those of later papers too, and those
# that retrieve also with several edits in their memory.
QUICK = (
    RunConfig(datasets=("zsre",), edits=(1,), recent=True),
    RunConfig(
        editors=("grace", "r_rome", "lte", "recipe", "rag"), datasets=("counterfact",), edits=(10,)
    ),
)


@dataclass(frozen=True)
class Outcome:
    """The result of checking one reference cell."""

    cell: str  # in words
    verdict: Verdict
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether the reference still holds."""
        return self.verdict in GOOD


def rerun(
    table: Table, parts: Sequence[RunConfig] = QUICK, jobs: int | None = None
) -> Iterator[Outcome]:
    """The outcome of each cell of the parts that the reference has.

    Raises:
        FileNotFoundError: no reference of this table is committed.
        ValueError: it has none of these cells.
        OSError: records cannot be written to the temporary directory.
    """
    references = {_key(Cell.from_dict(r["cell"])): r for r in table_records(table.number)}
    chosen = (points(replace(part, table=table.number)) for part in parts)
    every = [point for part in chosen for point in part]
    wanted = [point for point in every if (point.key, point.variant) in references]
    if not wanted:
        raise ValueError(f"The reference of table {table.number} has none of the cells to re-run.")
    planned, reasons = Planner(RunConfig(table=table.number)).edit_jobs(wanted, named=False)
    yield from (Outcome("untrained", "left out", why) for why in reasons)
    current = []
    for job in planned:
        reference = references[_key(job.cell)]
        if _trained_here(job):
            name = job.cell.describe()
            yield Outcome(name, "left out", "its weights were trained here")
        elif job.cell.key() == reference["key"]:
            current.append((job, reference))
        else:
            detail = changed_identity(reference, job.cell.to_dict())
            yield Outcome(job.cell.describe(), "stale", detail)
    yield from _run(current, jobs)


def _trained_here(job: EditJob) -> bool:
    """Whether a cell reads weights that this machine trained, whose last bits are its own."""
    artefact = job.sources.artefact
    return artefact is not None and not artefact.is_relative_to(assets_dir())


def _run(pairs: Sequence[tuple[Job, Record]], jobs: int | None) -> Iterator[Outcome]:
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        store = ResultStore(Path(folder))
        todo = largest_first(job for job, _ in pairs)
        execute(todo, store, [Display()], executor=LocalExecutor(jobs))
        for job, reference in pairs:
            now = store.read(reference["key"])
            if now is not None:
                yield compare(reference, now, job.cell.describe())


def _key(cell: Cell) -> tuple[CellKey, str | None]:
    """The key and the variant of the point that a cell was planned from."""
    variant = row_variant(cell.editor, cell.hparams)
    return CellKey.of(cell.to_dict()), None if variant is None else variant.key


def compare(reference: Record, now: Record, name: str) -> Outcome:
    """Exact on the same versions and CPU instructions, within `TOLERANCE` otherwise."""
    if not is_complete(now):
        status = now["status"]
        return Outcome(name, "failed", f"{status['error']}: {status['message']}")
    pairs = list(_scores(reference["summary"], compact(now)["summary"]))
    if not pairs:
        return Outcome(name, "differs", "the two have no score in common")
    same = environment(reference) == environment(now)
    wrong = [
        f"{where} was {was:.6f} and is {value:.6f}"
        for where, was, value in pairs
        if (was != value if same else abs(was - value) > TOLERANCE)
    ]
    if wrong:
        rest = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return Outcome(name, "differs", wrong[0] + rest)
    moved = sum(was != value for _, was, value in pairs)
    if moved:
        detail = f"{moved} of {len(pairs)} scores moved by at most {TOLERANCE}, on another machine"
        return Outcome(name, "near", detail)
    return Outcome(name, "equal")


def changed_identity(reference: Record, cell: Mapping[str, Any]) -> str:
    """The first field in which today's cell differs from the reference's; their keys differ."""
    for name, was in reference["cell"].items():
        value = cell.get(name)
        if value == was:
            continue
        if isinstance(was, dict) and isinstance(value, dict):
            inner = next(k for k in {**was, **value} if was.get(k) != value.get(k))
            return f"{name}.{inner} was {was.get(inner)!r} and is {value.get(inner)!r}"
        return f"{name} was {was!r} and is {value!r}"
    return f"{', '.join(cell.keys() - reference['cell'].keys())} is new"


def environment(record: Record) -> dict[str, Any]:
    """What decides whether numbers can be equal to the last bit."""
    provenance = record["provenance"]
    hardware = provenance["hardware"]
    return {
        "libraries": provenance["libraries"],
        "threads": provenance["threads"],
        **{name: hardware.get(name) for name in ("cpu_capability", "device", "accelerator")},
    }


def _scores(was: Any, now: Any, where: str = "") -> Iterator[tuple[str, float, float]]:
    """(path, reference, now) of every number that both have."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in was:
            if name in now:
                yield from _scores(was[name], now[name], f"{where}/{name}".strip("/"))
    elif isinstance(was, int | float) and isinstance(now, int | float):
        yield where, float(was), float(now)

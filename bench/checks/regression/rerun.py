"""A part of the reference, run again now."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.checks.regression.compare import Outcome, changed_identity, compare
from bench.core.cells import Cell
from bench.core.grids import GridPoint, Selection, Table, row_variant
from bench.evaluation.edit_job import EditJob
from bench.evaluation.jobs import Job
from bench.runner.executors.local import LocalExecutor
from bench.runner.planning import Settings, plan, points, trained_points
from bench.store.reference import table_records
from bench.store.results import Record, ResultStore
from bench.world.store import assets_dir


@dataclass(frozen=True, kw_only=True)
class Part:
    """Cells of a table that take seconds each."""

    editors: tuple[str, ...] | None  # None: all there are, those of later papers too
    datasets: tuple[str, ...]
    edits: tuple[int, ...]


# Every editor once; those that retrieve also with several edits in their memory.
QUICK = (
    Part(editors=None, datasets=("zsre",), edits=(1,)),
    Part(
        editors=("grace", "r_rome", "lte", "recipe", "rag"), datasets=("counterfact",), edits=(10,)
    ),
)
SEED = 0


def rerun(
    table: Table, parts: Sequence[Part] = QUICK, jobs: int | None = None
) -> Iterator[Outcome]:
    """The outcome of each cell of the parts that the reference has.

    Raises:
        FileNotFoundError: no reference of this table is committed.
        ValueError: it has none of these cells.
        OSError: records cannot be written to the temporary directory.
    """
    references = {_place(r): r for r in table_records(table.number)}
    chosen = [point for part in parts for point in _points(table, part)]
    wanted = [point for point in chosen if _name(point) in references]
    if not wanted:
        raise ValueError(f"The reference of table {table.number} has none of the cells to re-run.")
    trained, reasons = trained_points(wanted, Settings(), named=False)
    yield from (Outcome(cell="untrained", verdict="left out", detail=one) for one in reasons)
    current = []
    for point, job in zip(trained, plan(trained, Settings()), strict=True):
        reference = references[_name(point)]
        if _is_own(job):
            name = job.cell.describe()
            yield Outcome(cell=name, verdict="left out", detail="its weights were trained here")
        elif job.cell.key() == reference["key"]:
            current.append((job, reference))
        else:
            detail = changed_identity(reference, job.cell.to_dict())
            yield Outcome(cell=job.cell.describe(), verdict="stale", detail=detail)
    yield from _run(current, jobs)


def _is_own(job: EditJob) -> bool:
    """Whether a cell reads weights that this machine trained, whose last bits are its own."""
    artefact = job.sources.artefact
    return artefact is not None and not artefact.is_relative_to(assets_dir())


def _run(pairs: Sequence[tuple[Job, Record]], jobs: int | None) -> Iterator[Outcome]:
    from bench.runner.cell_progress import CellProgress
    from bench.runner.progress import track

    by_key = {job.cell.key(): (job, reference) for job, reference in pairs}
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        store = ResultStore(Path(folder))
        todo = [job for job, _ in pairs]
        finished = LocalExecutor(jobs).run(todo, store.directory)
        for one in track(finished, CellProgress(todo, store.leases)):
            job, reference = by_key[one.key]
            now = store.read(one.key)
            if now is not None:
                yield compare(reference, now, job.cell.describe())


def _points(table: Table, part: Part) -> tuple[GridPoint, ...]:
    selection = Selection(
        editors=part.editors,
        datasets=part.datasets,
        edits=part.edits,
        seeds=(SEED,),
        recent=True,
    )
    return points(table, selection)


def _name(point: GridPoint) -> tuple[object, ...]:
    return point.backbone, point.editor, point.dataset, point.n_edits, point.seed, point.variant


def _place(record: Record) -> tuple[object, ...]:
    """Of a record of the preset, in the manner of `_name`."""
    cell = Cell.from_dict(record["cell"])
    one = row_variant(cell.editor, cell.hparams)
    variant = None if one is None else one.key
    return cell.backbone, cell.editor, cell.dataset, cell.n_edits, cell.seed, variant

"""A part of the reference run again, and each record compared with the committed one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.checks.regression.compare import Outcome, compare
from bench.core.cells import CellKey, stream_of
from bench.core.config import RunConfig
from bench.core.grids import ablation_of, row_variant
from bench.evaluation.context import Context
from bench.evaluation.jobs import AbilityJob, EditJob, Job, TimingJob
from bench.models import catalogue
from bench.runner.executors.local import LocalExecutor
from bench.runner.observers import Display
from bench.runner.planning import Planner, points
from bench.runner.run import execute, largest_first
from bench.store.reference import (
    COVARIANCE,
    has_reference,
    reference_records,
    table_files,
    table_records,
)
from bench.store.results import Record, ResultStore
from bench.world.store import assets_dir

Names = tuple[CellKey, str | None]  # of a cell, whatever its versions and digests, and its variant


@dataclass(frozen=True, kw_only=True)
class Part:
    """Cells of a table's committed records, or of another file's, that are run again."""

    cells: RunConfig
    file: str = ""  # empty: the table's own

    @property
    def name(self) -> str:
        """`table1`, `small-table1`, or the file's."""
        return self.file or table_files(self.cells.table, self.cells.preset)[0]

    def references(self) -> Mapping[Names, Record]:
        """The committed records by name; none where there is no file."""
        if not has_reference(self.name):
            return {}
        records = reference_records(self.file) if self.file else self._table()
        return {_names(record["cell"]): record for record in records}

    def _table(self) -> list[Record]:
        return table_records(self.cells.table, preset=self.cells.preset)

    def on(self, data_dir: Path | None) -> Part:
        """The same, of which cells of real data read a directory."""
        embedded = self.cells.preset == "embedded"
        return self if embedded else replace(self, cells=replace(self.cells, data_dir=data_dir))

    def lacking(self) -> str:
        """What is not on this machine that the cells need, in words; empty where all is there."""
        if self.cells.preset == "embedded":
            return ""
        if self.cells.data_dir is None:
            return "real data, which --data-dir names"
        models = catalogue.chosen([self.cells.preset], "registry")
        if all(model.is_fetched for model in models):
            return ""
        names = " and ".join(model.name for model in models)
        return f"{names}, which `{catalogue.FETCH} {self.cells.preset}` gets"


def _part(table: int, file: str = "", **cells: Any) -> Part:
    return Part(cells=RunConfig(table=table, **cells), file=file)


_SHIPPED = ("ft", "rome", "memit", "t_patcher", "grace", "lte", "recipe")  # on every backbone
# Cells that take seconds each, of every table, data set and family: every editor once, those of
# later papers too, and those that retrieve also with several edits in their memory. What cannot be
# reached so (long streams, variants whose weights are not shipped) is held by digests alone.
PARTS = (
    _part(1, datasets=("zsre",), edits=(1,)),
    _part(1, editors=("grace", "lte", "recipe", "rag"), datasets=("counterfact",), edits=(10,)),
    _part(
        1, editors=("alphaedit", "wise", "ultraedit", "ike", "rag"), datasets=("ripple_edits",),
        edits=(1,),
    ),
    _part(1, COVARIANCE, editors=("rome",), datasets=("zsre",), edits=(1,),
          hparams={"rome.mode": "easyedit"}),
    _part(2, editors=("ft", "recipe"), edits=(100,)),
    _part(2, "table2-lm-eval", scoring="lm-eval", task_limit=50, editors=("recipe",), edits=(100,)),
    _part(3, editors=("mend", "recipe"), edits=(100,)),
    _part(4, datasets=("zsre", "counterfact"), edits=(100,)),
    _part(5, editors=_SHIPPED, datasets=("counterfact",), edits=(1,)),
    _part(5, editors=("grace", "lte", "recipe"), datasets=("ripple_edits",), edits=(10,)),
    _part(6, editors=(*_SHIPPED, "wilke"), datasets=("ripple_edits",), edits=(1,)),
    _part(6, editors=("grace", "lte", "recipe"), datasets=("zsre",), edits=(10,)),
    _part(1, preset="small", editors=("ft", "grace"), datasets=("counterfact",), edits=(1,),
          seeds=(0,)),
)  # fmt: skip


def rerun(
    parts: Sequence[Part] = PARTS, jobs: int | None = None, data_dir: Path | None = None
) -> Iterator[Outcome]:
    """The outcome of each cell of the parts, in their order; `data_dir` has the real data.

    Raises:
        OSError: records cannot be written to the temporary directory.
        ValueError: a committed file that holds no records.
    """
    context = Context()
    parts = [part.on(data_dir) for part in parts]
    planned = [list(_planned(part, context)) for part in parts]
    todo = [item[0] for items in planned for item in items if not isinstance(item, Outcome)]
    timed = [job for job in todo if isinstance(job, TimingJob)]
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        store = ResultStore(Path(folder))
        others = largest_first(job for job in todo if not isinstance(job, TimingJob))
        execute(others, store, [Display()], executor=LocalExecutor(jobs))
        execute(timed, store, [Display()], executor=LocalExecutor(1))
        for part, items in zip(parts, planned, strict=True):
            for item in items:
                outcome = item if isinstance(item, Outcome) else _compared(store, *item)
                yield replace(outcome, reference=part.name)


def _planned(part: Part, context: Context) -> Iterator[Outcome | tuple[Job, Record]]:
    """Jobs that are to be run, each with its reference, and what needs none."""
    if lacking := part.lacking():
        yield Outcome("not run", "left out", f"it needs {lacking}")
        return
    references = part.references()
    plan = Planner(part.cells, context).plan(points(part.cells), named=False)
    yield from (Outcome("not run", "left out", reason) for reason in plan.left_out)
    for job in plan.jobs:
        name = job.cell.describe()
        reference = references.get(_names(job.cell.to_dict()))
        if reference is None:
            yield Outcome(name, "differs", f"{part.name} has no record of it")
        elif _trained_here(job):
            yield Outcome(name, "left out", "its weights were trained here")
        elif job.cell.key() != reference["key"]:
            yield Outcome(name, "stale", changed_identity(reference, job.cell.to_dict()))
        else:
            yield job, reference


def _compared(store: ResultStore, job: Job, reference: Record) -> Outcome:
    name, now = job.cell.describe(), store.read(reference["key"])
    return compare(reference, now, name) if now else Outcome(name, "failed", "it has no record")


def _trained_here(job: Job) -> bool:
    """Whether a cell reads weights that this machine trained, whose last bits are its own."""
    stream = job.stream if isinstance(job, AbilityJob | TimingJob) else job
    artefact = stream.sources.artefact if isinstance(stream, EditJob) else None
    return artefact is not None and not artefact.is_relative_to(assets_dir())


def _names(cell: Mapping[str, Any]) -> Names:
    """Of a cell in the form of its record."""
    stream = stream_of(cell)
    hparams = stream.get("hparams", {})
    variant = row_variant(stream.get("editor", ""), hparams) or ablation_of(hparams)
    return CellKey.of(cell), None if variant is None else variant.key


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

"""What differs between tables that measure different things, for `run` and `tables` alike."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from bench.cli import arguments
from bench.core.cells import Cell, Identity
from bench.core.grids import GridPoint, Measured
from bench.core.names import editor_keys, in_paper, row_order
from bench.datasets import dataset_keys
from bench.evaluation.jobs import Job
from bench.evaluation.record_kinds import AbilityCell, EditStream, TimingCell
from bench.store.results import Record

MEASURES = ("measure", "measure_text")  # options of metric sets
TEXT_SET = "collapse"  # the set that reads the text
MEANINGLESS = "random weights give times (Table 3), and scores that mean nothing"


class TableKind(ABC):
    """How cells of a table are planned and shown."""

    identity: ClassVar[type[Identity]]
    alone: ClassVar[bool] = False  # its cells run one after another, whatever `--jobs` is
    # Options of the command line that only other kinds of table take: name of the argument -> why.
    refused: ClassVar[dict[str, str]]

    def check(self, args: argparse.Namespace) -> None:
        """Refuse options that would do nothing.

        Raises:
            ValueError: such an option was given.
        """
        for name, reason in self.refused.items():
            if vars(args).get(name):
                option = name.replace("_", "-")
                raise ValueError(f"Table {args.table} takes no --{option}: {reason}.")

    def owns(self, record: Record) -> bool:
        """Whether a record is of this kind."""
        return bool(record["cell"].get("kind") == self.identity.kind)

    @abstractmethod
    def seed(self, record: Record) -> int | None:
        """The seed of a record of this kind, None where it has none."""

    @abstractmethod
    def plan(self, points: Sequence[GridPoint], args: argparse.Namespace) -> Sequence[Job]:
        """A job for every cell; see `bench.runner.planning.plan`."""

    @abstractmethod
    def chosen(self, cells: Iterable[Identity], args: argparse.Namespace) -> Sequence[Identity]:
        """Those of some cells that were asked for, in the order of the table."""

    @abstractmethod
    def lines(self, points: Sequence[GridPoint]) -> Iterator[str]:
        """One line for each cell, for a dry run."""


class EditingTables(TableKind):
    """Tables 1, 5 and 6: reliability, generality, locality."""

    identity = Cell
    refused: ClassVar[dict[str, str]] = dict.fromkeys(
        ("scoring", "harness", "task_limit", "ability_dir"),
        "it asks no questions of general ability",
    ) | {"weights": MEANINGLESS}

    def check(self, args: argparse.Namespace) -> None:
        """See the base class."""
        super().check(args)
        if args.measure_text and TEXT_SET not in (args.measure or ()):
            raise ValueError(f"--measure-text is the text of --measure {TEXT_SET} alone.")

    def seed(self, record: Record) -> int:
        """See the base class."""
        return int(record["cell"]["seed"])

    def plan(self, points: Sequence[GridPoint], args: argparse.Namespace) -> Sequence[Job]:
        """See the base class."""
        from bench.runner.planning import plan

        return plan(points, arguments.settings(args))

    def chosen(self, cells: Iterable[Identity], args: argparse.Namespace) -> Sequence[Identity]:
        """See the base class."""
        asked = frozenset(args.measure or ())
        found = [
            cell
            for cell in cells
            if isinstance(cell, Cell)
            and _wanted(cell, args)
            and (asked <= cell.measures.keys() if asked else not cell.measures)
        ]
        return sorted(
            found, key=lambda cell: (cell.n_edits, row_order(cell.editor, cell.dataset), cell.seed)
        )

    def lines(self, points: Sequence[GridPoint]) -> Iterator[str]:
        """See the base class."""
        for point in points:
            limit = "all" if point.limit is None else f"{point.limit:,}"
            yield f"{_line(point)}  samples {limit}"


class AblationTables(EditingTables):
    """Table 4: RECIPE without its parts, as cells of editing."""

    refused: ClassVar[dict[str, str]] = EditingTables.refused | dict.fromkeys(
        ("editors", "averages", "by_type", "correlate", "significance", "metric_loss", *MEASURES),
        "its rows are RECIPE with and without its parts",
    )


class TimeTables(TableKind):
    """Table 3: seconds per edit and per inference."""

    identity = TimingCell
    alone = True
    refused: ClassVar[dict[str, str]] = dict.fromkeys(
        ("scoring", "harness", "task_limit", "ability_dir", "limit", "averages", "by_type",
         "correlate", "significance", "metric", "metric_loss", *MEASURES),
        "it measures times",
    )  # fmt: skip

    def seed(self, record: Record) -> int:
        """See the base class."""
        return int(record["cell"]["seed"])

    def plan(self, points: Sequence[GridPoint], args: argparse.Namespace) -> Sequence[Job]:
        """See the base class."""
        from bench.runner.plan_times import plan

        return plan(points, arguments.settings(args))

    def chosen(self, cells: Iterable[Identity], args: argparse.Namespace) -> Sequence[Identity]:
        """See the base class; times of random weights are no reference."""
        found = [c for c in cells if isinstance(c, TimingCell) and c.weights == "trained"]
        edited = [cell for cell in found if cell.editor is not None and _wanted(cell, args)]
        return [cell for cell in found if cell.editor is None] + sorted(edited, key=_time_order)

    def lines(self, points: Sequence[GridPoint]) -> Iterator[str]:
        """See the base class."""
        yield from AbilityTables().lines(points)


class AbilityTables(TableKind):
    """Table 2: general ability."""

    identity = AbilityCell
    _of_editing = "it asks questions of general ability, not about the edits"
    refused: ClassVar[dict[str, str]] = {
        "limit": "it makes n edits once; --task-limit limits its questions",
        "averages": _of_editing,
        "by_type": _of_editing,
        "correlate": _of_editing,
        "significance": _of_editing,
        "metric": _of_editing,
        "measure": _of_editing,
        "measure_text": _of_editing,
        "metric_loss": _of_editing,
        "weights": MEANINGLESS,
    }

    def seed(self, record: Record) -> int | None:
        """See the base class."""
        edits: dict[str, Any] | None = record["cell"]["edits"]
        return None if edits is None else int(edits["seed"])

    def plan(self, points: Sequence[GridPoint], args: argparse.Namespace) -> Sequence[Job]:
        """See the base class."""
        from bench.runner.plan_general_ability import plan

        return plan(points, arguments.settings(args), arguments.asking(args))

    def chosen(self, cells: Iterable[Identity], args: argparse.Namespace) -> Sequence[Identity]:
        """See the base class."""
        found = [cell for cell in cells if isinstance(cell, AbilityCell)]
        edited = [cell for cell in found if cell.edits is not None and _wanted(cell.edits, args)]
        return [cell for cell in found if cell.edits is None] + sorted(edited, key=_ability_order)

    def lines(self, points: Sequence[GridPoint]) -> Iterator[str]:
        """See the base class."""
        yield from (
            f"{backbone}  unedited" for backbone in dict.fromkeys(p.backbone for p in points)
        )
        yield from map(_line, points)


KINDS: dict[Measured, TableKind] = {
    "editing": EditingTables(),
    "general_ability": AbilityTables(),
    "times": TimeTables(),
    "ablation": AblationTables(),
}


def _ability_order(cell: AbilityCell) -> tuple[object, ...]:
    one = cell.edits
    return () if one is None else (one.n_edits, row_order(one.editor, one.dataset), one.seed)


def _time_order(cell: TimingCell) -> tuple[object, ...]:
    return cell.n_edits, row_order(cell.editor or "", cell.dataset), cell.seed


def _wanted(stream: Cell | EditStream | TimingCell, args: argparse.Namespace) -> bool:
    """Whether a stream of edits is among those that were asked for."""
    seeds = range(args.n_seeds) if args.n_seeds else args.seeds
    return (
        _wanted_editor(stream.editor, args)
        and (args.datasets is None or stream.dataset in dataset_keys(args.datasets))
        and (args.edits is None or stream.n_edits in args.edits)
        and (seeds is None or stream.seed in seeds)
    )


def _wanted_editor(editor: str | None, args: argparse.Namespace) -> bool:
    if editor is None:
        return True
    if args.editors is not None:
        return editor in editor_keys(args.editors)
    return bool(args.with_recent) or in_paper(editor)


def _line(point: GridPoint) -> str:
    variant = "" if point.variant is None else f" ({point.variant})"
    return (
        f"{point.backbone}  {point.editor}{variant}  {point.dataset}  edits {point.n_edits:,}  "
        f"seed {point.seed}"
    )

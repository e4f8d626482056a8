"""Records of a report: all kinds, each cell once, and which of them a table consists of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from bench.core.cells import Cell, Identity, but_for_seed
from bench.core.grids import TABLES, Table, ablation_of
from bench.core.names import position
from bench.datasets import remember
from bench.evaluation.record_kinds import AbilityCell, TimingCell, identity_of
from bench.store.inventory import split_stale, warn_of_stale
from bench.store.reference import compact, reference_folder, table_files
from bench.store.results import Record
from bench.tables.figure_data import records_by_file

NAMED = [name for table in TABLES.values() for name in table.backbones.values()]  # backbones
CONTROLS = {table.control for table in TABLES.values()}
CellT = TypeVar("CellT", bound=Identity)


@dataclass(frozen=True)
class Records:
    """Complete records by key, and by the stem of the file of committed ones they are from."""

    directory: Path
    by_file: Mapping[str, Sequence[Record]]

    @property
    def committed(self) -> bool:
        """Whether these are the committed results."""
        return self.directory.resolve() == reference_folder().resolve()

    @property
    def place(self) -> str:
        """The directory in words, without what is this machine's alone."""
        return "the committed results" if self.committed else f"the records in {self.directory}"

    @cached_property
    def all(self) -> dict[str, Record]:
        """Every record once, in the order of the keys."""
        records = {record["key"]: record for own in self.by_file.values() for record in own}
        return dict(sorted(records.items()))

    def cells(self, table: Table) -> list[Identity]:
        """The cells of a table: those of its file where there are such files, else by kind."""
        if any(f"table{number}" in self.by_file for number in TABLES):
            own = [r for stem in table_files(table.number) for r in self.by_file.get(stem, ())]
            return [identity_of(record["cell"]) for record in own]
        return [cell for cell in self._identities if _belongs(cell, table, self._identities)]

    def beyond(self) -> list[Cell]:
        """The cells of editing that no table has."""
        taken = {cell.key() for table in TABLES.values() for cell in self.cells(table)}
        return [c for c in self._identities if isinstance(c, Cell) and c.key() not in taken]

    @cached_property
    def _identities(self) -> list[Identity]:
        return [identity_of(record["cell"]) for record in self.all.values()]


def read(directory: Path) -> Records:
    """The complete, current records of a directory in compact form, of all kinds.

    Where it holds `*.jsonl` files, their lines are the records; else each `*.json` file is one.

    Raises:
        OSError: no such directory, or a file that cannot be read.
        ValueError: a line that is no record, or no complete record at all.
    """
    current: dict[str, list[Record]] = {}
    stale: list[Record] = []
    for stem, records in records_by_file(directory).items():
        remember(records)  # own editors whose code is not loaded
        usable, old = split_stale(records)
        current[stem] = [compact(record) for record in usable]
        stale += old
    warn_of_stale(stale)
    if not any(current.values()):
        raise ValueError(f"No complete record in {directory}.")
    return Records(directory, current)


def layers(
    cells: Sequence[CellT], place: Callable[[CellT], Hashable], shared: Callable[[CellT], Hashable]
) -> list[list[CellT]]:
    """The cells in parts that a table can show: at one place they differ in their seed alone.

    A cell's `place` is its row and column; all cells of a part have `shared` in common.
    """
    parts: list[tuple[Hashable, dict[Hashable, str], list[CellT]]] = []
    for cell in cells:
        common, here, identity = shared(cell), place(cell), but_for_seed(cell.to_dict())
        for own, taken, members in parts:
            if own == common and taken.setdefault(here, identity) == identity:
                members.append(cell)
                break
        else:
            parts.append((common, {here: identity}, [cell]))
    return [members for _, _, members in parts]


def _belongs(cell: Identity, table: Table, others: Sequence[Identity]) -> bool:
    """Whether a cell is of a table, by what it measures and on which backbone."""
    if isinstance(cell, AbilityCell):
        return table.measures == "general_ability"
    if isinstance(cell, TimingCell):
        return table.measures == "times"
    if not isinstance(cell, Cell):
        return False
    if table.measures == "ablation":
        return _is_ablation(cell, table, others)
    usual = cell.backbone not in CONTROLS and ablation_of(cell.hparams) is None
    return usual and home_table(cell) is table


def backbones_of(records: Iterable[Record]) -> list[str]:
    """Those of tables first, in their order."""
    there = {str(record["cell"]["backbone"]) for record in records}
    return sorted(there, key=lambda name: (position(NAMED, name), name))


def home_table(cell: Cell) -> Table:
    """The table of editing on the cell's backbone, else the first."""
    editing = [table for table in TABLES.values() if table.measures == "editing"]
    return next((t for t in editing if cell.backbone in t.backbones.values()), editing[0])


def _is_ablation(cell: Cell, table: Table, others: Sequence[Identity]) -> bool:
    """RECIPE without a part, or the whole of it where the same was run without one."""
    if cell.editor not in (table.editors or ()):
        return False
    return ablation_of(cell.hparams) is not None or any(
        ablation_of(other.hparams) is not None and _stream(other) == _stream(cell)
        for other in others
        if isinstance(other, Cell)
    )


def _stream(cell: Cell) -> tuple[object, ...]:
    return cell.backbone, cell.dataset, cell.n_edits, cell.seed

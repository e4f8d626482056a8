"""Records of a report: all kinds, each cell once, and which of them a table is made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from bench.core.cells import Cell, Identity, canonical
from bench.core.console import warn
from bench.core.grids import TABLES, Table, ablation_of
from bench.datasets.plugins import remember
from bench.evaluation.record_kinds import AbilityCell, TimingCell, identity_of
from bench.store.compact import compact
from bench.store.query import split_stale, stale_warning
from bench.store.reference import reference_folder, table_files
from bench.store.results import Record, ResultStore, is_complete, parse

BEYOND = "beyond"  # cells of editing that belong to no table
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
        found = {record["key"]: record for some in self.by_file.values() for record in some}
        return dict(sorted(found.items()))

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
    if not directory.is_dir():
        raise FileNotFoundError(
            f"No records at {directory}; python -m bench run makes them, --from names their place."
        )
    files = sorted(directory.glob("*.jsonl"))
    found = {path.stem: list(_lines(path)) for path in files} if files else {}
    if not files:
        found = {"": [record for record in ResultStore(directory).records() if is_complete(record)]}
    kept: dict[str, list[Record]] = {}
    stale: list[Record] = []
    for stem, records in found.items():
        remember(records)  # own editors whose code is not loaded
        current, old = split_stale(records)
        kept[stem] = [compact(record) for record in current]
        stale += old
    if warning := stale_warning(stale):
        warn(warning)
    if not any(kept.values()):
        raise ValueError(f"No complete record in {directory}.")
    return Records(directory, kept)


def layers(
    cells: Sequence[CellT], place: Callable[[CellT], Hashable], shared: Callable[[CellT], Hashable]
) -> list[list[CellT]]:
    """The cells in parts that a table can show: at one place they differ in their seed alone.

    Args:
        cells: of one kind.
        place: what a table tells apart by its rows and columns.
        shared: what all cells of a part have in common.
    """
    parts: list[tuple[Hashable, dict[Hashable, str], list[CellT]]] = []
    for cell in cells:
        common, here, what = shared(cell), place(cell), _but_seed(cell)
        for own, taken, members in parts:
            if own == common and taken.setdefault(here, what) == what:
                members.append(cell)
                break
        else:
            parts.append((common, {here: what}, [cell]))
    return [members for _, _, members in parts]


def under_one_head(texts: Sequence[str]) -> str:
    """CSV texts of the same columns as one."""
    lines = [text.splitlines(keepends=True) for text in texts]
    return "".join([*lines[0][:1], *(line for own in lines for line in own[1:])])


def _but_seed(cell: Identity) -> str:
    """Everything that a cell is but its seed."""
    values: dict[str, Any] = cell.to_dict() | {"seed": None}
    if isinstance(cell, AbilityCell) and cell.edits is not None:
        values["edits"] = values["edits"] | {"seed": None}
    return canonical(values)


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
    return table.measures == "editing" and _of_editing(cell, table)


def _of_editing(cell: Cell, table: Table) -> bool:
    """On the table's backbones; those of no table are shown in the first one."""
    if ablation_of(cell.hparams) is not None:
        return False
    named = [one for one in TABLES.values() if one.measures == "editing"]
    home = next((one for one in named if cell.backbone in one.backbones.values()), named[0])
    controls = {one.control for one in TABLES.values()}
    return home is table and cell.backbone not in controls


def _is_ablation(cell: Cell, table: Table, others: Sequence[Identity]) -> bool:
    """RECIPE without a part, or the whole of it where the same was run without one."""
    if cell.editor not in (table.editors or ()):
        return False
    if ablation_of(cell.hparams) is not None:
        return True
    return any(
        isinstance(other, Cell)
        and ablation_of(other.hparams) is not None
        and _stream(other) == _stream(cell)
        for other in others
    )


def _stream(cell: Cell) -> tuple[object, ...]:
    return cell.backbone, cell.dataset, cell.n_edits, cell.seed


def _lines(path: Path) -> Iterator[Record]:
    lines = path.read_bytes().splitlines()  # of a text it would part at U+2028 too
    found = (parse(line, f"{path}, line {i}") for i, line in enumerate(lines, 1))
    yield from (record for record in found if is_complete(record))

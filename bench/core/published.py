"""The paper's own numbers, as data: Tables 1 to 6."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

TABLES = (1, 2, 3, 4, 5, 6)
UNEDITED = "N/A"  # the unedited model, as the tables print it

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A number of the paper, with its printed spread where there is one."""

    value: float
    std: float | None


class PublishedCell(NamedTuple):
    """Where a number is printed: the columns of the published tables that identify it."""

    table: int
    n_edits: int
    editor: str  # label; `UNEDITED` for the model as it was
    dataset: str  # label; empty in Table 3
    metric: str

    @property
    def where(self) -> str:
        """`ZSRE, 1,000 edits`: where in its table, in words."""
        return ", ".join(filter(None, [self.dataset, edits(self.n_edits)]))

    @property
    def decimals(self) -> int:
        """How many the paper prints: times in seconds with four, percentages with two."""
        return 4 if self.metric.endswith("_s") else 2

    @property
    def unit(self) -> float:
        """1 in the last printed digit."""
        return float(f"1e-{self.decimals}")

    def text(self, value: float) -> str:
        return f"{value:.{self.decimals}f}"


def load(table: int) -> list[dict[str, str]]:
    """One published table, a row per printed number, as texts.

    Columns: `table`, `backbone`, `n_edits`, `type` (MP, AP, RB or empty), `editor` (as printed;
    `N/A` is the unedited model), `dataset`, `metric`, `value` and `std` (as printed: percent in
    Tables 1, 2 and 4 to 6, seconds in Table 3; empty where the paper prints nothing).
    """
    if table not in TABLES:
        raise ValueError(f"No published table {table!r}. Available: {', '.join(map(str, TABLES))}.")
    with (tables_folder("published") / f"table{table}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@cache
def numbers(table: int) -> Mapping[PublishedCell, Published]:
    """The printed numbers of one table, in the order and the units of `load`; read once."""
    return MappingProxyType({
        PublishedCell(table, int(row["n_edits"]), row["editor"], row["dataset"], row["metric"]):
        Published(value=float(row["value"]), std=float(row["std"]) if row["std"] else None)
        for row in load(table)
        if row["value"]
    })  # fmt: skip


def all_numbers() -> dict[PublishedCell, Published]:
    return {cell: number for table in TABLES for cell, number in numbers(table).items()}


def distinct(
    cells: Iterable[PublishedCell], table: int, read: Callable[[PublishedCell], T]
) -> tuple[T, ...]:
    """What `read` gives for the cells of one table, each once, in their order."""
    return tuple(dict.fromkeys(read(cell) for cell in cells if cell.table == table))


def rivals(cells: Iterable[PublishedCell], cell: PublishedCell) -> tuple[PublishedCell, ...]:
    """The same number of every other editor; the unedited model competes for nothing."""
    return tuple(
        other
        for other in cells
        if other._replace(editor=cell.editor) == cell
        and other.editor not in (cell.editor, UNEDITED)
    )


def edits(count: int) -> str:
    """`1 edit`, `1,000 edits`."""
    return f"{count:,} edit" + ("" if count == 1 else "s")


def tables_folder(name: str) -> Traversable:
    """`tables/NAME`, where a wheel carries it (`bench/_data/NAME`) or where a checkout has it."""
    packaged = resources.files("bench") / "_data" / name
    checkout = Path(__file__).parents[2] / "tables" / name
    for folder in (packaged, checkout):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"No tables/{name}: neither {packaged} nor {checkout} exists.")

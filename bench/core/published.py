"""The paper's own numbers, as data: Tables 1 to 6."""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.published_cells import PublishedCell

if TYPE_CHECKING:
    import pandas as pd

TABLES = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A number of the paper, with its printed spread where there is one."""

    value: float
    std: float | None


def load(table: int) -> pd.DataFrame:
    """One published table, a row per printed number.

    Columns: `table`, `backbone`, `n_edits`, `type` (MP, AP, RB or empty), `editor` (as printed;
    `N/A` is the unedited model), `dataset`, `metric`, `value` and `std` (as printed: percent in
    Tables 1, 2 and 4 to 6, seconds in Table 3; NaN where the paper prints nothing).

    Raises:
        ValueError: there is no such table.
    """
    if table not in TABLES:
        raise ValueError(f"No published table {table!r}. Available: {', '.join(map(str, TABLES))}.")
    import pandas as pd

    # Only numbers can be missing: "N/A" is the name of a row.
    with (tables_folder("published") / f"table{table}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, na_values={"value": [""], "std": [""]})


def numbers(table: int) -> dict[PublishedCell, Published]:
    """The printed numbers of one table, in the order and the units of `load`.

    Raises:
        ValueError: there is no such table.
    """
    frame = load(table)
    frame = frame[frame["value"].notna()]
    cells = zip(
        frame["table"].astype(int),
        frame["n_edits"].astype(int),
        frame["editor"].astype(str),
        frame["dataset"].astype(str),
        frame["metric"].astype(str),
        strict=True,
    )
    printed = zip(frame["value"].astype(float), frame["std"].astype(float), strict=True)
    return {
        PublishedCell(*cell): Published(value=value, std=None if math.isnan(std) else std)
        for cell, (value, std) in zip(cells, printed, strict=True)
    }


def all_numbers() -> dict[PublishedCell, Published]:
    """The printed numbers of all tables."""
    return {cell: number for table in TABLES for cell, number in numbers(table).items()}


def tables_folder(name: str) -> Traversable:
    """`tables/NAME`, where a wheel carries it (`bench/_data/NAME`) or where a checkout has it.

    Raises:
        FileNotFoundError: neither is there.
    """
    packaged = resources.files("bench") / "_data" / name
    checkout = Path(__file__).parents[2] / "tables" / name
    for folder in (packaged, checkout):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"No tables/{name}: neither {packaged} nor {checkout} exists.")

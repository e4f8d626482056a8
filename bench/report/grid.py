"""Tables of the report, as plain values: what a page shows, sorts and filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from bench.core.numerics import Spread
from bench.tables.layout import EMPTY

Trend = Literal["", "above", "below", "same"]
_IN_PARENTHESES = "In parentheses the published value"
KEY_LENGTH = 12  # of a cell's key in links: a prefix that is unique among any sensible records


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column; numbers are aligned right and sort by value."""

    name: str
    number: bool = False
    words: bool = False  # sentences, which may be long
    group: str = ""  # heading above it and its neighbours
    about: str = ""  # what it means, in a few words


@dataclass(frozen=True, kw_only=True)
class Value:
    """What one place of a table shows."""

    text: str
    sort: float | str | None = None  # None: the text itself, or nothing for a dash
    spread: str = ""  # `±2.87`, or quartiles
    marks: str = ""
    published: str = ""  # as the paper prints it
    source: str = ""  # of the published value: its backbone
    difference: str = ""  # from the published value, in the table's unit
    trend: Trend = ""
    href: str = ""
    best: bool = False
    verdict: str = ""  # a word that gets a mark of its own


@dataclass(frozen=True, kw_only=True)
class GridRow:
    """A line; `filters` has its value for each filter of the grid, and `starts` a new group."""

    values: tuple[Value, ...]
    filters: Mapping[str, str] = field(default_factory=dict)
    starts: bool = False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table with its caption. `filters` are names of what can be chosen, in their order."""

    key: str  # of its place in a page
    title: str
    caption: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[GridRow, ...]
    filters: tuple[str, ...] = ()
    csv: str = ""  # its file, relative to the page
    short: str = ""  # a caption where the title stands above the table already
    defaults: Mapping[str, str] = field(default_factory=dict)  # what filters are set to at first

    @cached_property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """The values of each filter, in the order of the rows."""
        return {
            name: tuple(dict.fromkeys(row.filters[name] for row in self.rows))
            for name in self.filters
        }

    @cached_property
    def _numbers(self) -> dict[str, dict[str, int]]:
        return {name: {one: i for i, one in enumerate(own)} for name, own in self.choices.items()}

    def places(self, row: GridRow) -> str:
        """Which choice of each filter a row has, by number."""
        return ",".join(str(self._numbers[name][row.filters[name]]) for name in self.filters)

    def hidden(self, row: GridRow) -> bool:
        """Whether the filters leave a row out at first."""
        return any(row.filters[name] != value for name, value in self.defaults.items() if value)

    @property
    def described(self) -> tuple[Column, ...]:
        """The columns whose names need words."""
        return tuple(column for column in self.columns if column.about)

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """(heading, columns under it), empty where no column has a heading."""
        found: list[tuple[str, int]] = []
        for column in self.columns:
            if found and found[-1][0] == column.group:
                found[-1] = (column.group, found[-1][1] + 1)
            else:
                found.append((column.group, 1))
        return tuple(found) if any(column.group for column in self.columns) else ()


def plain(text: str, sort: float | str | None = None, *, href: str = "") -> Value:
    """A value without a published one beside it."""
    return Value(text=text, sort=sort, href=href)


def measured(
    ours: Spread | None,
    theirs: Spread | None = None,
    *,
    source: str = "",
    decimals: int = 2,
    keys: Sequence[str] = (),
    marks: str = "",
    best: bool = False,
) -> Value:
    """Our number, linked to its cells, with the published one and the difference."""
    published = "" if theirs is None else number(theirs, decimals)
    if ours is None:
        return Value(text=EMPTY, published=published, source=source)
    gap = None if theirs is None else round(ours.mean, decimals) - round(theirs.mean, decimals)
    return Value(
        text=f"{ours.mean:.{decimals}f}",
        sort=round(ours.mean, 6),
        spread="" if ours.std is None else f"±{ours.std:.{decimals}f}",
        marks=marks,
        published=published,
        source=source,
        difference="" if gap is None else f"{gap:+.{decimals}f}".replace("-", "\u2212"),
        trend=_trend(gap, decimals),
        href=cell_link(keys),
        best=best,
    )


def on_page(caption: Sequence[str]) -> tuple[str, ...]:
    """A caption of the terminal without what it says of the terminal's layout."""
    said = (line.replace(_IN_PARENTHESES, "The published value is") for line in caption)
    return tuple(dict.fromkeys(said))


def number(value: Spread, decimals: int = 2) -> str:
    """`98.27±0.15`."""
    spread = "" if value.std is None else f"±{value.std:.{decimals}f}"
    return f"{value.mean:.{decimals}f}{spread}"


def cell_link(keys: Sequence[str]) -> str:
    """Where the cells of a number are shown; empty for none."""
    return "cell.html#" + ",".join(key[:KEY_LENGTH] for key in keys) if keys else ""


def _trend(gap: float | None, decimals: int) -> Trend:
    if gap is None:
        return ""
    if abs(gap) < 0.5 * 10**-decimals:
        return "same"
    return "above" if gap > 0 else "below"

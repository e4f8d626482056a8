"""A table of the pages, as plain values: what a page shows, sorts and filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby

from bench.tables.table import Number

KEY_LENGTH = 12  # of a cell's key in links: a prefix that is unique among any sensible records


@dataclass(frozen=True)
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
    href: str = ""
    best: bool = False
    verdict: str = ""  # a word that gets a mark of its own


@dataclass(frozen=True)
class GridRow:
    """A line; `starts` a new group."""

    values: tuple[Value, ...]
    starts: bool = False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table with its caption. `filters` are names of columns to choose by, in their order."""

    key: str  # of its place in a page
    title: str
    caption: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[GridRow, ...]
    filters: tuple[str, ...] = ()
    csv: str = ""  # its file, relative to the page
    short: str = ""  # a caption where the title stands above the table already
    defaults: Mapping[str, str] = field(default_factory=dict)  # what filters are set to at first

    def choice(self, row: GridRow, name: str) -> str:
        """A row's value for a filter."""
        value = row.values[[column.name for column in self.columns].index(name)]
        return value.verdict or value.text

    @cached_property
    def choices(self) -> dict[str, dict[str, int]]:
        """The values of each filter, numbered in the order of the rows."""
        texts = {name: [self.choice(row, name) for row in self.rows] for name in self.filters}
        return {
            name: {text: i for i, text in enumerate(dict.fromkeys(own))}
            for name, own in texts.items()
        }

    def places(self, row: GridRow) -> str:
        """Which choice of each filter a row has, by number."""
        return ",".join(str(own[self.choice(row, name)]) for name, own in self.choices.items())

    def hidden(self, row: GridRow) -> bool:
        """Whether the filters leave a row out at first."""
        return any(value not in ("", self.choice(row, n)) for n, value in self.defaults.items())

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """(heading, columns under it), empty where no column has a heading."""
        groups = groupby(column.group for column in self.columns)
        widths = tuple((name, len(list(own))) for name, own in groups)
        return widths if any(name for name, _ in widths) else ()


def plain(text: str, sort: float | str | None = None, *, href: str = "") -> Value:
    """A value without a published one beside it."""
    return Value(text=text, sort=sort, href=href)


def measured(number: Number, *, source: str = "", link: str = "") -> Value:
    """Our number, linked to its cells, with the published one and the difference."""
    text, spread = number.parts
    ours, theirs, decimals = number.ours, number.published, number.decimals
    value = Value(text=text, published=number.published_text, source=source, href=link)
    if ours is None:
        return replace(value, href="") if number.value is None else value
    gap = theirs and round(ours.mean, decimals) - round(theirs.value, decimals)
    return replace(
        value, sort=round(ours.mean, 6), spread=spread, marks=number.marks, best=number.best,
        difference="" if gap is None else f"{gap:+.{decimals}f}".replace("-", "\u2212"),
    )  # fmt: skip


def cell_link(keys: Sequence[str]) -> str:
    """Where the cells of a number are shown; empty for none."""
    return "cell.html#" + ",".join(key[:KEY_LENGTH] for key in keys) if keys else ""

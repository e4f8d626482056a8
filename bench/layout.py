"""A table's numbers to columns of text, before any output format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.datasets import get_dataset
from bench.statistics import Spread
from bench.tabulate import METRICS, Entry, Published, Row, TableData

EMPTY = "-"  # undefined, or not run
LEAD = ("n", "Type", "Editor")


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Groups of columns, and rows of text; `breaks` are the rows in front of which a rule goes."""

    caption: tuple[str, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]  # (heading, column names)
    rows: tuple[tuple[str, ...], ...]
    breaks: tuple[int, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Flat column names, each with its group's heading in front."""
        return tuple(f"{group} {name}".strip() for group, names in self.groups for name in names)


def by_dataset(data: TableData) -> TextTable:
    """The paper's layout: per data set Rel, Gen, Loc, Avg, each with the published value."""
    columns = (*METRICS, "P-only")
    groups = [(get_dataset(key).label, columns) for key in data.datasets]
    rows = [
        [text for key in data.datasets for text in _dataset_texts(data, row, key)]
        for row in data.rows
    ]
    return _assemble(data, data.caption, groups, rows)


def by_kind(data: TableData, dataset: str = "ripple_edits") -> TextTable:
    """Token accuracy of one data set by type of probe."""
    label = get_dataset(dataset).label
    kinds = dict.fromkeys(
        kind
        for (_, _, key), entry in data.entries.items()
        if key == dataset
        for kind in entry.kinds
        if not kind.startswith("reliability/")
    )
    names = tuple(sorted(kinds))
    rows = []
    for row in data.rows:
        entry = data.entries.get((row.n_edits, row.editor, dataset))
        rows.append([_number(entry.kinds.get(name) if entry else None) for name in names])
    heading = f"{label} by type of probe: mean over the samples that have the type."
    columns = tuple(name.partition("/")[2].replace("_", " ") for name in names)
    return _assemble(data, (heading, *data.caption[1:]), [(label, columns)], rows)


def _assemble(
    data: TableData,
    caption: tuple[str, ...],
    groups: Sequence[tuple[str, tuple[str, ...]]],
    texts: Sequence[Sequence[str]],
) -> TextTable:
    """Put the leading columns in front."""
    return TextTable(
        caption=caption,
        groups=(("", LEAD), *groups),
        rows=tuple(
            (f"{row.n_edits:,}", row.family, row.label, *text)
            for row, text in zip(data.rows, texts, strict=True)
        ),
        breaks=tuple(
            i for i, row in enumerate(data.rows) if i and row.n_edits != data.rows[i - 1].n_edits
        ),
    )


def _dataset_texts(data: TableData, row: Row, dataset: str) -> list[str]:
    entry = data.entries.get((row.n_edits, row.editor, dataset))
    label = get_dataset(dataset).label
    texts = [
        beside(entry, column, data.published.get((row.n_edits, row.label, label, column)))
        for column in METRICS
    ]
    return [*texts, _number(entry.prompt_only if entry else None)]


def beside(entry: Entry | None, column: str, published: Published | None) -> str:
    """`ours (published)`; a dash for what is not there."""
    ours = _number(entry.values.get(column) if entry else None)
    if published is None:
        return ours
    theirs = Spread(mean=published.value, std=published.std, n=1)
    return f"{ours} ({_number(theirs)})"


def _number(spread: Spread | None) -> str:
    if spread is None:
        return EMPTY
    return f"{spread.mean:.2f}" + (f"±{spread.std:.2f}" if spread.std is not None else "")

"""A table's numbers to columns of text, before any output format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.datasets import get_dataset
from bench.datasets.ripple_edits import GENERALITY_TYPES, LOCALITY_TYPES, RippleEdits
from bench.published import Published
from bench.statistics import Spread
from bench.tabulate import METRICS, Entry, Row, TableData

EMPTY = "-"  # undefined, or not run
REMARKED = "\u2020"  # a dagger: read what the caption says of this number
LEAD = ("n", "Type", "Editor")
HONEST = (
    "P-only: Avg of retrieval editors that look up the prompt alone, not the target's leading "
    "tokens. A dash: undefined, or not run."
)
RIPPLE_EDITS = RippleEdits.key
_KINDS = (
    *(f"generality/{kind}" for kind in GENERALITY_TYPES),
    *(f"locality/{kind}" for kind in LOCALITY_TYPES),
)


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Groups of columns, and rows of text; `breaks` are the rows in front of which a rule goes.

    The first group holds the columns that name a row: the number of edits, then words.
    """

    caption: tuple[str, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]  # (heading, column names)
    rows: tuple[tuple[str, ...], ...]
    breaks: tuple[int, ...]
    best: frozenset[tuple[int, int]] = frozenset()  # (row, column) of the largest numbers

    @property
    def lead(self) -> int:
        """How many columns name a row."""
        return len(self.groups[0][1])

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
    caption = data.caption
    return _assemble(
        data,
        (
            caption.title,
            f"{caption.measured} {caption.published}",
            caption.protocol,
            f"{caption.seeds} {HONEST}",
            *filter(None, [caption.changes]),
            *remarks(data),
        ),
        groups,
        rows,
    )


def by_kind(data: TableData) -> TextTable:
    """Token accuracy of RippleEdits by its six types of probe."""
    label = get_dataset(RIPPLE_EDITS).label
    rows = []
    for row in data.rows:
        entry = data.entries.get((row.n_edits, row.editor, RIPPLE_EDITS))
        rows.append([number(entry.kinds.get(kind) if entry else None) for kind in _KINDS])
    caption = data.caption
    heading = f"{label} by type of probe: mean over the samples that have the type, in percent."
    return _assemble(
        data,
        (
            heading,
            caption.measured,
            caption.protocol,
            caption.seeds,
            *filter(None, [caption.changes]),
            *remarks(data),
        ),
        [(label, tuple(kind.partition("/")[2].replace("_", " ") for kind in _KINDS))],
        rows,
    )


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


def remarks(data: TableData) -> Iterator[str]:
    """A sentence of all editors that changed nothing or diverged; nothing where there is none."""
    found = [
        f"{row.label} at {row.n_edits:,} on {get_dataset(key).label}: {'; '.join(entry.remarks)}"
        for row in data.rows
        for key in data.datasets
        if (entry := data.entries.get((row.n_edits, row.editor, key))) and entry.remarks
    ]
    if found:
        yield f"{REMARKED} {'. '.join(found)}."


def _dataset_texts(data: TableData, row: Row, dataset: str) -> list[str]:
    entry = data.entries.get((row.n_edits, row.editor, dataset))
    label = get_dataset(dataset).label
    texts = [
        beside(entry, column, data.published.get((row.n_edits, row.label, label, column)))
        for column in METRICS
    ]
    return [*texts, number(entry.prompt_only if entry else None)]


def beside(entry: Entry | None, column: str, published: Published | None) -> str:
    """An entry's number in one column, with the published one."""
    ours = entry.values.get(column) if entry else None
    return with_published(ours, published, remarked=bool(entry and entry.remarks))


def with_published(ours: Spread | None, published: Published | None, *, remarked: bool) -> str:
    """`ours (published)`; a dash for what is not there, a dagger where there are remarks."""
    text = number(ours) + (REMARKED if remarked else "")
    if published is None:
        return text
    theirs = Spread(mean=published.value, std=published.std, n=1)
    return f"{text} ({number(theirs)})"


def number(spread: Spread | None) -> str:
    """A mean with its spread, where there is one; a dash for none."""
    if spread is None:
        return EMPTY
    return f"{spread.mean:.2f}" + (f"±{spread.std:.2f}" if spread.std is not None else "")

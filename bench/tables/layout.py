"""A table's numbers to columns of text, before any output format."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from bench.core.numerics import Spread
from bench.core.published import Published
from bench.datasets import get_dataset
from bench.datasets.ripple_edits import GENERALITY_TYPES, LOCALITY_TYPES, RippleEdits
from bench.tables.comparisons import FAVOURITE, Comparison, ahead_of_the_best, comparisons
from bench.tables.later_editors import marked, notes
from bench.tables.significance import LEVEL
from bench.tables.tabulate import METRICS, Entry, Row, TableData

EMPTY = "-"  # undefined, or not run
REMARKED = "\u2020"  # a dagger: read what the caption says of this number
LEAD = ("n", "Type", "Editor")
SIGNIFICANT = "\u2021"  # a double dagger
UNDEFINED = "A dash: undefined, or not run."
HONEST = (
    "P-only: Avg of retrieval editors that look up the prompt alone, not the target's leading "
    f"tokens. {UNDEFINED}"
)
LED = "Avg"  # the column in which leads are tested
RIPPLE_EDITS = RippleEdits.key
_COLUMNS = (*METRICS, "P-only")
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
    groups = [(get_dataset(key).label, _COLUMNS) for key in data.datasets]
    compared = comparisons(data.averages)
    leads = ahead_of_the_best(compared)
    rows = [
        [text for key in data.datasets for text in _dataset_texts(data, row, key, leads)]
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
            _emphasis(compared),
            *filter(None, [caption.changes]),
            *_variants(data),
            *remarks(data),
        ),
        groups,
        rows,
        best=frozenset(_best(data)),
    )


def averages(data: TableData) -> TextTable:
    """Avg alone, a column per data set: the table at a glance."""
    whole = by_dataset(data)
    first, width = len(LEAD), len(_COLUMNS)
    kept = [first + width * i + _COLUMNS.index(LED) for i in range(len(data.datasets))]
    places = {old: new for new, old in enumerate(kept, start=first)}
    return replace(
        whole,
        caption=tuple(line.replace(HONEST, UNDEFINED) for line in whole.caption),
        groups=(("", LEAD), (LED, tuple(get_dataset(key).label for key in data.datasets))),
        rows=tuple((*row[:first], *(row[old] for old in kept)) for row in whole.rows),
        best=frozenset((row, places[old]) for row, old in whole.best if old in places),
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
    best: frozenset[tuple[int, int]] = frozenset(),
) -> TextTable:
    """Put the leading columns in front."""
    return TextTable(
        caption=(*caption, *notes(row.editor for row in data.rows)),
        groups=(("", LEAD), *groups),
        rows=tuple(
            (f"{row.n_edits:,}", row.family, marked(row.label, row.editor), *text)
            for row, text in zip(data.rows, texts, strict=True)
        ),
        breaks=tuple(
            i for i, row in enumerate(data.rows) if i and row.n_edits != data.rows[i - 1].n_edits
        ),
        best=best,
    )


def _best(data: TableData) -> Iterator[tuple[int, int]]:
    """(row, column) of the largest numbers of each block, as they are printed."""
    columns = enumerate(product(data.datasets, _COLUMNS), start=len(LEAD))
    for (j, (dataset, metric)), n_edits in product(columns, {row.n_edits for row in data.rows}):
        means = {
            i: round(entry.values[metric].mean, 2)
            for i, row in enumerate(data.rows)
            if row.n_edits == n_edits
            and row.variant is None
            and (entry := data.entries.get((n_edits, row.editor, dataset)))
            and metric in entry.values
        }
        if len(means) > 1:
            yield from ((i, j) for i, mean in means.items() if mean == max(means.values()))


def _emphasis(compared: Sequence[Comparison]) -> str:
    """What bold numbers and the mark mean, or why there is no mark."""
    tests = sum(one.paired is not None for one in compared)
    if not tests:
        return (
            f"Bold: the best editor. Significance is not tested: that takes {FAVOURITE}, another "
            "editor and several seeds."
        )
    return (
        f"Bold: the best editor. {SIGNIFICANT}: {FAVOURITE} is above the best other editor by a "
        f"two-sided paired t-test over seeds, p < {LEVEL} after Holm's correction of {tests} tests."
    )


def _variants(data: TableData) -> Iterator[str]:
    """What rows are that are no editor of their own."""
    found = {row.variant.key: row.variant for row in data.rows if row.variant is not None}
    yield from (f"{one.label}: {one.about}" for one in found.values())


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


def _dataset_texts(
    data: TableData, row: Row, dataset: str, leads: Collection[tuple[int, str]]
) -> list[str]:
    entry = data.entries.get((row.n_edits, row.editor, dataset))
    label = get_dataset(dataset).label
    lead = row.label == FAVOURITE and (row.n_edits, label) in leads
    texts = [
        beside(
            entry,
            column,
            data.published.get((row.n_edits, row.label, label, column)),
            marks=SIGNIFICANT if lead and column == LED else "",
        )
        for column in METRICS
    ]
    return [*texts, number(entry.prompt_only if entry else None)]


def beside(
    entry: Entry | None, column: str, published: Published | None, *, marks: str = ""
) -> str:
    """An entry's number in one column, with marks and the published one."""
    ours = entry.values.get(column) if entry else None
    remarked = REMARKED if entry and entry.remarks else ""
    return with_published(ours, published, marks=marks + remarked)


def with_published(ours: Spread | None, published: Published | None, *, marks: str = "") -> str:
    """`ours (published)`; a dash for what is not there."""
    text = number(ours) + marks
    if published is None:
        return text
    theirs = Spread(mean=published.value, std=published.std, n=1)
    return f"{text} ({number(theirs)})"


def number(spread: Spread | None) -> str:
    """A mean with its spread, where there is one; a dash for none."""
    if spread is None:
        return EMPTY
    return f"{spread.mean:.2f}" + (f"±{spread.std:.2f}" if spread.std is not None else "")

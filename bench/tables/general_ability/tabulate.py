"""Ability records to the numbers of Table 2: a row for each editor, and one for none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.core.cells import check_one_way
from bench.core.grids import Table
from bench.core.numerics import Spread, spread
from bench.core.published import UNEDITED, Published
from bench.datasets import get_dataset
from bench.evaluation.general_ability.sets import SETS
from bench.evaluation.record_kinds import AbilityCell
from bench.store.results import Record
from bench.tables.footnotes import remark
from bench.tables.tabulate import changes_sentence, published_values, seeds_sentence
from editors import registry

# Column -> (task, or None for the mean over tasks; name in its summary).
MAIN_COLUMNS: dict[str, tuple[str | None, str]] = {
    **{one.label: (key, "score") for key, one in SETS.items()},
    "Avg": (None, "average"),
}
FURTHER_COLUMNS: dict[str, tuple[str | None, str]] = {
    "SQUAD-2 F1": ("squad2", "f1"),
    "SQUAD-2 EM": ("squad2", "exact"),
    "MMLU macro": ("mmlu", "macro"),
}
COLUMNS = MAIN_COLUMNS | FURTHER_COLUMNS
# Our column -> (data set, metric) of the published table, where they differ from its own label.
PUBLISHED_NAMES = {
    **{one.label: (one.label, one.measure) for one in SETS.values()},
    "Avg": ("ALL4", "mean"),
}

RowKey = tuple[str, int, str] | None  # data set, number of edits, editor; None: no edits


@dataclass(frozen=True, kw_only=True)
class AbilityRowData:
    """One line of the table, in percent."""

    key: RowKey
    values: Mapping[str, Spread]  # by column; empty where it has not been run
    published: Mapping[str, Published]  # by column
    protocol: str  # id
    remarks: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Of the editor."""
        return "unedited" if self.key is None else registry.describe(self.key[2]).label

    @property
    def family(self) -> str:
        """Of the editor; empty for none."""
        return "" if self.key is None else registry.describe(self.key[2]).family

    @property
    def dataset(self) -> str:
        """Label of the edit set; empty for no edits."""
        return "" if self.key is None else get_dataset(self.key[0]).label

    @property
    def n_edits(self) -> int:
        """Edits behind which the questions were asked."""
        return 0 if self.key is None else self.key[1]


@dataclass(frozen=True, kw_only=True)
class AbilityTable:
    """Everything that a rendered Table 2 shows; all cells are asked in one way."""

    table: Table
    cell: AbilityCell  # any of them
    rows: tuple[AbilityRowData, ...]
    questions: Mapping[str, int]  # asked of each set; empty where nothing has been run
    source: str
    origins: tuple[str, ...]  # of the edit sets, by label
    seeds: str
    changes: str


def tabulate(table: Table, cells: Sequence[AbilityCell], records: Iterable[Record]) -> AbilityTable:
    """The table of a plan's cells; cells without a complete record stay empty.

    Raises:
        ValueError: cells of several protocols.
    """
    check_one_way(cells)
    protocols = {cell.row: cell.protocol_id for cell in cells}
    by_key = {record["key"]: record for record in records}
    groups: dict[RowKey, list[Record]] = {}
    for cell in cells:
        found = groups.setdefault(cell.row, [])
        found += [by_key[cell.key()]] if cell.key() in by_key else []
    done = [record for found in groups.values() for record in found]
    streams = [cell.edits for cell in cells if cell.edits is not None]
    # What PromptBench scores is not what the paper printed.
    published = {} if cells[0].scoring == "promptbench" else published_values(table)
    return AbilityTable(
        table=table,
        cell=cells[0],
        rows=tuple(_row(key, found, published, protocols[key]) for key, found in groups.items()),
        questions=_questions(done[0]) if done else {},
        source=done[0]["data"]["source"] if done else "",
        origins=tuple(
            dict.fromkeys(f"{get_dataset(s.dataset).label} ({s.dataset_revision})" for s in streams)
        ),
        seeds=seeds_sentence(sorted({stream.seed for stream in streams})),
        changes=changes_sentence(
            cells[0].backbone, {stream.editor: stream.hparams for stream in streams}
        ),
    )


def _questions(record: Record) -> dict[str, int]:
    tasks = record["summary"]["tasks"]
    return {SETS[key].label: int(task["questions"]) for key, task in tasks.items()}


def _row(
    key: RowKey,
    records: Sequence[Record],
    published: Mapping[tuple[int, str, str, str], Published],
    protocol: str,
) -> AbilityRowData:
    n_edits = 0 if key is None else key[1]
    label = UNEDITED if key is None else registry.describe(key[2]).label
    places = {column: (n_edits, label, *names) for column, names in PUBLISHED_NAMES.items()}
    return AbilityRowData(
        key=key,
        values={c: _spread(records, c) for c in COLUMNS if records},
        published={c: published[place] for c, place in places.items() if place in published},
        protocol=protocol,
        remarks=tuple(_remarks(records)),
    )


def _spread(records: Sequence[Record], column: str) -> Spread:
    """Over the seeds; over the prompts, its mean over the seeds, where there are several."""
    task, name = COLUMNS[column]
    places = [r["summary"] if task is None else r["summary"]["tasks"][task] for r in records]
    over_seeds = spread([100 * float(place[name]) for place in places])
    if name != "score" or "spread" not in places[0]:
        return over_seeds
    over_prompts = 100 * fmean(place["spread"] for place in places)
    return Spread(mean=over_seeds.mean, std=over_prompts, n=over_seeds.n)


def _remarks(records: Sequence[Record]) -> Iterator[str]:
    for record in records:
        found = remark(record["health"])
        if found is not None:
            edits = record["cell"]["edits"]
            yield found + ("" if len(records) == 1 else f" (seed {edits['seed']})")

"""Our records as evidence for the paper's claims, and the verdicts on both sides' numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.checks.claims import CLAIMS, Claim, Evidence, Exhibit, Judgement, Values, judge
from bench.checks.claims.claim import Distances, Lengths
from bench.checks.claims.unprinted import EMBEDDING_SPACE
from bench.core.cells import Cell, Identity
from bench.core.files import write_text
from bench.core.grids import TABLES, Table
from bench.core.names import DATASETS, in_paper, row_order
from bench.core.published import UNEDITED, PublishedCell, all_numbers, tables_folder
from bench.datasets import get_dataset
from bench.evaluation.record_kinds import AbilityCell, TimingCell, identity_of, names_of
from bench.store.reference import (
    COVARIANCE,
    FIGURE_3,
    MAP,
    has_reference,
    reference_folder,
    reference_records,
)
from bench.store.results import Record
from bench.tables.columns import MAIN, SHOWN
from bench.tables.figure_data import prompt_lengths
from bench.tables.figure_data.alike import changes
from bench.tables.figure_data.prompt_map import read_map
from bench.tables.figure_data.records import read_records

PINS = "claims.json"  # the known verdicts, in tables/reference
# By editor: the hyper-parameters with which it does without covariance.
WITHOUT_COVARIANCE: Mapping[str, Mapping[str, Any]] = {
    "rome": {"mode": "easyedit"},
    "memit": {"solver": "isotropic"},
}
BACKBONE = TABLES[1].backbones["embedded"]  # Figure 3 is on Table 1's, as in the paper


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """A claim in one table or figure, on the published numbers and on ours."""

    claim: Claim
    exhibit: Exhibit
    published: Judgement
    ours: Judgement

    @property
    def key(self) -> str:
        """`best-average/table1`, the same from version to version."""
        return f"{self.claim.key}/{self.exhibit.key}"

    @property
    def pair(self) -> tuple[str, str]:
        """(on the published numbers, on ours)."""
        return self.published.verdict, self.ours.verdict


def verdicts(ours: Evidence) -> Iterator[Verdicts]:
    """Every claim in each of its tables and figures, on the published numbers and on ours."""
    published = Evidence(tables={cell: number.value for cell, number in all_numbers().items()})
    for claim in CLAIMS:
        for theirs, own in zip(judge(claim, published), judge(claim, ours), strict=True):
            yield Verdicts(claim=claim, exhibit=theirs.exhibit, published=theirs, ours=own)


def pinned() -> dict[str, tuple[str, str]] | None:
    """The known verdicts by key; None where none are committed."""
    try:
        text = (tables_folder("reference") / PINS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return {key: (str(pair[0]), str(pair[1])) for key, pair in json.loads(text).items()}


def pin(pairs: Mapping[str, tuple[str, str]], path: Path) -> Path:
    """Write verdicts as the known ones, a claim a line.

    Raises:
        OSError: the file cannot be written.
    """
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(pair)}" for key, pair in pairs.items())
    return write_text(path, f"{{\n{lines}\n}}\n")


def reference_evidence() -> Evidence:
    """All committed reference results.

    Raises:
        OSError: a file cannot be read.
        ValueError: the content of a file does not match its name.
    """
    numbers: dict[PublishedCell, float] = {}
    for table in TABLES.values():
        if has_reference(f"table{table.number}"):
            records = reference_records(f"table{table.number}")
            numbers |= values(table, _of_the_paper(records), records)
    return evidence(numbers)


def _of_the_paper(records: Sequence[Record]) -> list[Identity]:
    """The cells of the paper's editors without metric sets, in the order of the tables."""
    cells: list[tuple[tuple[Any, ...], Identity]] = []
    for cell in (identity_of(record["cell"]) for record in records):
        names = names_of(cell)
        if isinstance(cell, Cell) and cell.measures:
            continue
        if names["editor"] is None:
            cells.append(((), cell))
        elif in_paper(names["editor"]):
            row = row_order(names["editor"], names["dataset"])
            cells.append(((names["n_edits"], row, names["seed"]), cell))
    return [cell for _, cell in sorted(cells, key=lambda pair: pair[0])]


def evidence(tables: Values) -> Evidence:
    """These numbers of the tables, with the other files of the reference.

    Raises:
        OSError: a file cannot be read.
        ValueError: the content of a file does not match its name.
    """
    folder = reference_folder()
    without = reference_records(COVARIANCE) if has_reference(COVARIANCE) else []
    return Evidence(
        tables=tables,
        without_covariance=without_covariance(without),
        lengths=lengths(read_records(folder)) if has_reference(FIGURE_3) else {},
        distances=distances(read_map(folder / MAP)) if (folder / MAP).is_file() else {},
    )


def without_covariance(records: Sequence[Record]) -> dict[PublishedCell, float]:
    """Means over seeds of ROME and MEMIT without covariance, in the cells of the tables.

    Raises:
        ValueError: a record of another editor, or with other changes of its preset.
    """
    cells = [_without_covariance(record) for record in records]
    numbers: dict[PublishedCell, float] = {}
    for table in TABLES.values():
        own = [cell for cell in cells if cell.backbone in table.backbones.values()]
        if own and table.measures == "editing":
            numbers |= values(table, own, records)
    return numbers


def _without_covariance(record: Record) -> Cell:
    if record["cell"].get("kind") == Cell.kind:
        cell = Cell.from_dict(record["cell"])
        changed = {name: cell.hparams[name] for name in changes(cell)}
        if changed == WITHOUT_COVARIANCE.get(cell.editor):
            return cell
    wanted = ", ".join(
        f"{editor}.{name}={value}"
        for editor, hparams in WITHOUT_COVARIANCE.items()
        for name, value in hparams.items()
    )
    raise ValueError(
        f"tables/reference/{COVARIANCE}.jsonl is for presets with {wanted} alone; record "
        f"{record['key'][:12]} is another."
    )


def lengths(records: Sequence[Record]) -> Lengths:
    """The numbers of Figure 3, means over all data sets.

    Raises:
        ValueError: none of its records is there, or they were not measured alike.
    """
    points = prompt_lengths.lengths(prompt_lengths.drawn(records, BACKBONE), DATASETS)
    return {
        (length, metric): spread.mean
        for length, spreads in points.items()
        for metric, spread in spreads.items()
    }


def distances(data: Mapping[str, Any]) -> Distances:
    """The median ratios of Figure 4, in the embedding space and in every map."""
    return {(_space(row), int(row["prompt_length"])): row["median"] for row in data["nearness"]}


def _space(row: Mapping[str, Any]) -> str:
    if row["space"] == "embeddings":
        return EMBEDDING_SPACE
    start = "principal components" if row["start"] == "pca" else f"noise {row['start']}"
    return f"map of perplexity {row['perplexity']:g} from {start}"


def values(
    table: Table, cells: Sequence[Identity], records: Sequence[Record]
) -> dict[PublishedCell, float]:
    """Means over seeds in the units of the published table, by its cells."""
    readers = {
        "editing": _editing,
        "general_ability": _ability,
        "times": _times,
        "ablation": _ablation,
    }
    return dict(readers[table.measures](table, cells, records))


Numbers = Iterator[tuple[PublishedCell, float]]


def _editing(table: Table, cells: Sequence[Identity], records: Sequence[Record]) -> Numbers:
    from bench.tables.tabulate import tabulate

    data = tabulate(table, [cell for cell in cells if isinstance(cell, Cell)], records)
    labels = {(row.n_edits, row.editor): row.label for row in data.rows if row.variant is None}
    for (n, editor, key), entry in data.entries.items():
        if (n, editor) in labels:
            dataset = get_dataset(key).label
            for column, spread in entry.values.items():
                yield (
                    PublishedCell(table.number, n, labels[n, editor], dataset, column),
                    spread.mean,
                )


def _ability(table: Table, cells: Sequence[Identity], records: Sequence[Record]) -> Numbers:
    from bench.tables.general_ability.tabulate import PUBLISHED_NAMES, tabulate

    data = tabulate(table, [cell for cell in cells if isinstance(cell, AbilityCell)], records)
    for row in data.rows:
        editor = UNEDITED if row.key is None else row.label
        for column, names in PUBLISHED_NAMES.items():
            if column in row.values:
                cell = PublishedCell(table.number, row.n_edits, editor, *names)
                yield cell, row.values[column].mean


def _times(table: Table, cells: Sequence[Identity], records: Sequence[Record]) -> Numbers:
    """Times after any number of edits stand at the one number of edits that the paper has.

    An inference counts as its overhead times the unedited model's, so that editors which were
    timed minutes apart can be compared.
    """
    from bench.tables.times import COLUMNS, printed_edits, time_rows

    rows = time_rows(table, [cell for cell in cells if isinstance(cell, TimingCell)], records)
    plain = next((row.seconds("Inference") for row in rows if row.cell.editor is None), None)
    for row in rows:
        measured = {column: row.seconds(column) for column in ("Edit", "Inference")}
        seconds = {column: times[0] for column, times in measured.items() if times is not None}
        if plain is not None and row.overhead is not None:
            seconds["Inference"] = row.overhead * plain[0]
        if seconds.keys() == measured.keys():
            seconds["Total"] = sum(seconds.values())
        editor = UNEDITED if row.cell.editor is None else row.label
        for column, value in seconds.items():
            metric = COLUMNS[column] or ""
            yield PublishedCell(table.number, printed_edits(table), editor, "", metric), value


def _ablation(table: Table, cells: Sequence[Identity], records: Sequence[Record]) -> Numbers:
    from bench.tables.ablation.tabulate import MEAN, ROWS, tabulate

    editing = [cell for cell in cells if isinstance(cell, Cell)]
    for row in tabulate(table, editing, records, SHOWN[MAIN]).rows:
        if not row.control:
            for column, spread in row.values.items():
                part = ROWS[row.part][1]
                yield PublishedCell(table.number, row.n_edits, part, MEAN, column), spread.mean

"""Our records against the paper: as evidence for its claims, and cell by cell."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bench.checks.claims import CLAIMS, EDIT, EMBEDDING_SPACE, INFERENCE, OVERHEAD, TOTAL
from bench.checks.judging import Distances, Evidence, Judgement, Lengths, Values, judge
from bench.core.cells import Cell, CellKey, Identity, stream_of
from bench.core.files import write_text
from bench.core.grids import RECIPE, TABLES, Preset, Table, ablation_of
from bench.core.names import DATASETS, in_paper, row_order
from bench.core.numerics import Spread
from bench.core.published import UNEDITED, Published, PublishedCell, all_numbers, tables_folder
from bench.core.published import numbers as published_numbers
from bench.evaluation.record_kinds import identity_of, names_of
from bench.runner.kinds import KINDS
from bench.store.reference import (
    COVARIANCE,
    FIGURE_3,
    MAP,
    has_reference,
    reference_folder,
    reference_records,
    table_files,
)
from bench.store.results import Record
from bench.tables import view
from bench.tables.figure_data import (
    changes,
    length_means,
    read_map,
    read_records,
    recipe_by_length,
)
from bench.tables.table import Number

PINS = "claims.json"  # the known verdicts, in tables/reference
# By editor: the hyper-parameters with which it does without covariance.
WITHOUT_COVARIANCE: Mapping[str, Mapping[str, Any]] = {
    "rome": {"mode": "easyedit"},
    "memit": {"solver": "isotropic"},
}
# A cell agrees within so many printed standard deviations, or within so many points, whichever is
# more (ours: the paper's spreads are those of five runs, and its texts are not all published).
DEVIATIONS = 3.0
POINTS = 1.0
# Times are those of another machine: they agree within this share, once the median ratio of all to
# the published ones is taken out (ours).
TIMES_WITHIN = 0.5
BACKBONE = TABLES[1].backbones["embedded"]  # Figure 3 is on Table 1's, as in the paper


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """A claim in one table or figure, on the published numbers and on ours."""

    published: Judgement
    ours: Judgement
    preset: Preset = "embedded"  # of ours

    @property
    def key(self) -> str:
        """`best-average/table1`, or `small/best-average/table1`, the same in every version."""
        own = f"{self.published.claim.key}/{self.published.exhibit.key}"
        return own if self.preset == "embedded" else f"{self.preset}/{own}"

    @property
    def pair(self) -> tuple[str, str]:
        """(on the published numbers, on ours)."""
        return self.published.verdict, self.ours.verdict


def verdicts(ours: Evidence, preset: Preset = "embedded") -> Iterator[Verdicts]:
    """Every claim in each of its tables and figures, on the published numbers and on ours."""
    published = Evidence(tables={cell: number.value for cell, number in all_numbers().items()})
    for claim in CLAIMS:
        for theirs, own in zip(judge(claim, published), judge(claim, ours), strict=True):
            yield Verdicts(published=theirs, ours=own, preset=preset)


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


def reference_evidence(preset: Preset = "embedded") -> Evidence:
    """All committed reference results of a preset; of another than the embedded one its tables.

    Raises:
        OSError: a file cannot be read.
        ValueError: the content of a file does not match its name.
    """
    numbers: dict[PublishedCell, float] = {}
    for table in TABLES.values():
        name, _ = table_files(table.number, preset)
        if has_reference(name):
            records = reference_records(name)
            numbers |= values(table, _of_the_paper(records), records)
    return evidence(numbers) if preset == "embedded" else Evidence(tables=numbers)


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
    usual, without = covariance_twins()
    return Evidence(
        tables=tables,
        with_covariance=_by_table(usual),
        without_covariance=without_covariance(without),
        lengths=lengths(read_records(folder)) if has_reference(FIGURE_3) else {},
        distances=distances(read_map(folder / MAP)) if (folder / MAP).is_file() else {},
    )


def covariance_twins() -> tuple[list[Record], list[Record]]:
    """Records with and without covariance that differ in nothing else, seeds included."""
    without = reference_records(COVARIANCE) if has_reference(COVARIANCE) else []
    without_covariance(without)  # refuses others
    tables = (f"table{table.number}" for table in TABLES.values() if table.measures == "editing")
    usual = [
        r for name in tables if without and has_reference(name) for r in reference_records(name)
    ]
    both = {CellKey.of(r["cell"]) for r in usual} & {CellKey.of(r["cell"]) for r in without}
    return (
        [r for r in usual if CellKey.of(r["cell"]) in both],
        [r for r in without if CellKey.of(r["cell"]) in both],
    )


def without_covariance(records: Sequence[Record]) -> dict[PublishedCell, float]:
    """Means over seeds of ROME and MEMIT without covariance, in the cells of the tables.

    Raises:
        ValueError: a record of another editor, or with other changes of its preset.
    """
    for record in records:
        _without_covariance(record)
    return _by_table(records)


def _by_table(records: Sequence[Record]) -> dict[PublishedCell, float]:
    """Means over seeds of editing records, in the cells of the tables of their backbones."""
    cells = [Cell.from_dict(record["cell"]) for record in records]
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
    points = length_means(recipe_by_length(records, BACKBONE), DATASETS)
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
    shown = view(table, cells, records)
    if table.measures == "times":
        return {_timed(table, n): n.ours.mean for n in shown.numbers if n.ours and _is_time(n)}
    numbers = [n for n in shown.numbers if n.ours]
    if table.measures == "editing":  # in the order of the cells, which evidence is listed in
        order = {id(cell): i for i, cell in enumerate(cells)}
        numbers.sort(key=lambda n: min(order[id(cell)] for cell in n.cells))
    return {n.place: n.ours.mean for n in numbers if n.place and n.ours}


def _is_time(number: Number) -> bool:
    return number.metric in (EDIT, INFERENCE, OVERHEAD, TOTAL)


def _timed(table: Table, number: Number) -> PublishedCell:
    """The place of a time as Table 3 prints it, at its own number of edits."""
    row = number.row
    editor = UNEDITED if row.editor is None else row.label
    return PublishedCell(table.number, row.n_edits, editor, "", number.metric)


# ---- cell by cell --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One of our numbers with the published one, in percent."""

    cell: PublishedCell
    ours: Spread
    published: Published

    @property
    def allowed(self) -> float:
        """Points, or seconds, by which they may differ."""
        if self.cell.metric.endswith("_s"):
            return TIMES_WITHIN * self.published.value
        return max(POINTS, DEVIATIONS * (self.published.std or 0.0))

    @property
    def verdict(self) -> Literal["agrees", "differs"]:
        """Whether they are as near as that."""
        return "agrees" if abs(self.ours.mean - self.published.value) <= self.allowed else "differs"

    def __str__(self) -> str:
        text, published = self.cell.text, self.published
        spread = "" if published.std is None else f"±{text(published.std)}"
        return (
            f"Table {self.cell.table}, {self.cell.editor}, {self.cell.where}, {self.cell.metric}: "
            f"{text(self.ours.mean)} over {self.ours.n} seed{'s' if self.ours.n > 1 else ''}, "
            f"published {text(published.value)}{spread}, {text(self.allowed)} allowed"
        )


def compare_published(table: Table, records: Sequence[Record]) -> Iterator[Comparison]:
    """Every number of the paper's backbone that both have.

    Limited runs are left out: they are of other samples than the paper's.
    """
    stored = (identity_of(record["cell"]) for record in records)
    cells = [cell for cell in stored if _is_published(table, cell)]
    if not any(names_of(cell)["editor"] for cell in cells):
        return
    ours = {n.place: n.ours for n in view(table, cells, records).numbers if n.place and n.ours}
    both = {p: n for p, n in published_numbers(table.number).items() if p in ours}
    ratios = [ours[p].mean / n.value for p, n in both.items() if p.metric.endswith("_s")]
    speed = statistics.median(ratios) if ratios else 1.0  # of this machine
    for printed, number in both.items():
        own = ours[printed]
        own = replace(own, mean=own.mean / speed) if printed.metric.endswith("_s") else own
        yield Comparison(cell=printed, ours=own, published=number)


def _is_published(table: Table, cell: Identity) -> bool:
    """Whether a cell is what a table of the paper has, whole."""
    values, stream = cell.to_dict(), stream_of(cell.to_dict())
    names = names_of(cell)
    parts = names["editor"] == RECIPE and ablation_of(stream["hparams"]) is not None
    return (
        isinstance(cell, KINDS[table.measures].identity)
        and cell.backbone == table.backbones["paper"]
        and names["n_edits"] in (None, 0, *table.edits["paper"])
        and (parts or not table.editors or names["editor"] in table.editors)
        and (table.measures == "ablation" or not parts)
        and stream.get("dataset_revision", "published").startswith("published")
        and values.get("limit") is values.get("task_limit") is None
        and not values.get("measures")  # the same scores again
        and values.get("scoring") != "lm-eval"  # no score of the paper's
        and values.get("weights") != "random"
    )

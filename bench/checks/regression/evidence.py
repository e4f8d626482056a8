"""Our committed numbers for the paper's claims: those of the tables, and what lies beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.checks.claims import Evidence, Values
from bench.checks.claims.claim import Distances, Lengths
from bench.checks.claims.unprinted import EMBEDDING_SPACE
from bench.checks.regression.values import values
from bench.core.cells import Cell
from bench.core.grids import TABLES
from bench.core.names import DATASETS
from bench.core.published import PublishedCell
from bench.store.reference import (
    COVARIANCE,
    FIGURE_3,
    MAP,
    has_reference,
    reference_folder,
    reference_records,
)
from bench.store.results import Record
from bench.tables.figure_data import prompt_lengths
from bench.tables.figure_data.alike import changes
from bench.tables.figure_data.prompt_map import read_map
from bench.tables.figure_data.records import read_records

# By editor: the hyper-parameters with which it does without covariance.
WITHOUT_COVARIANCE: Mapping[str, Mapping[str, Any]] = {
    "rome": {"mode": "easyedit"},
    "memit": {"solver": "isotropic"},
}
BACKBONE = TABLES[1].backbones["embedded"]  # the paper's Figure 3 is of Table 1's


def evidence(tables: Values) -> Evidence:
    """These numbers of the tables, with what the other files of the reference hold.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file holds something else than its name says.
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
    """Means over seeds of ROME and MEMIT without covariance, at the places of the tables.

    Raises:
        ValueError: a record of another editor, or with other changes of its preset.
    """
    cells = [_without_covariance(record) for record in records]
    found: dict[PublishedCell, float] = {}
    for table in TABLES.values():
        own = [cell for cell in cells if cell.backbone in table.backbones.values()]
        if own and table.measures == "editing":
            found |= values(table, own, records)
    return found


def lengths(records: Sequence[Record]) -> Lengths:
    """The numbers of Figure 3, means over all data sets.

    Raises:
        ValueError: none of its records is there, or they were not measured alike.
    """
    points = prompt_lengths.lengths(prompt_lengths.drawn(records, BACKBONE), DATASETS)
    return {
        (length, metric): spread.mean
        for length, found in points.items()
        for metric, spread in found.items()
    }


def distances(data: Mapping[str, Any]) -> Distances:
    """The median ratios of Figure 4, in the embedding space and in every map."""
    return {(_space(one), int(one["prompt_length"])): one["median"] for one in data["nearness"]}


def _space(one: Mapping[str, Any]) -> str:
    if one["space"] == "embeddings":
        return EMBEDDING_SPACE
    return f"map of perplexity {one['perplexity']:g} from {_start(one['start'])}"


def _start(start: str | int) -> str:
    return "principal components" if start == "pca" else f"noise {start}"


def _without_covariance(record: Record) -> Cell:
    kind = record["cell"].get("kind")
    if kind == Cell.kind:
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

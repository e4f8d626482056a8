"""The cells of a selection that have records: in a results directory, or in the reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bench import datasets
from bench.core.cells import Cell, CellKey, Identity, of_protocol
from bench.core.config import RunConfig
from bench.core.console import warn
from bench.core.grids import Table, get_table
from bench.core.names import editor_keys, in_paper
from bench.datasets.plugins import remember
from bench.evaluation.record_kinds import TimingCell, identity_of
from bench.runner.kinds import KINDS
from bench.runner.planning import Planner, check_hparams, check_taken, points
from bench.store.query import (
    missing_cells,
    missing_commands,
    other_protocols,
    records_of,
    split_points,
    split_stale,
    stale_warning,
    stored_by_protocol,
    stored_with_sets,
    with_own_editors,
    with_recorded,
)
from bench.store.reference import table_records
from bench.store.results import Record, ResultStore, is_complete


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The cells of a selection, in the order of the table, and the records there are."""

    table: Table
    cells: Sequence[Identity]
    records: Sequence[Record]


def stored(
    config: RunConfig,
    *,
    reference: bool = False,
    protocol: str | None = None,
    views: Sequence[str] = (),
) -> Stored:
    """What is stored of a selection; without seeds, all stored ones are taken.

    Args:
        config: the selection, as of the run.
        reference: whether of the committed reference results.
        protocol: only records of this one.
        views: names of options of `tables` that were given.

    Raises:
        ValueError: no record at all, or a selection that the table does not take.
    """
    table = get_table(config.table)
    check_taken(table, config, views)
    cells, records = (_committed if reference else _stored)(table, config, protocol)
    return Stored(table=table, cells=cells, records=records)


def _stored(
    table: Table, config: RunConfig, protocol: str | None
) -> tuple[Sequence[Identity], list[Record]]:
    """The cells of this selection, planned again, and all complete records of their kind."""
    store, kind = ResultStore(config.records), KINDS[table.measures].identity.kind
    owned = [r for r in store.records() if is_complete(r) and r["cell"].get("kind") == kind]
    remember(owned)
    # Records of other definitions are stale, unless these are what is wanted.
    records, stale = split_stale(owned) if protocol is None else (owned, [])
    cells = _cells(table, config, records)
    if config.measure:  # before a protocol is looked for, which does not know of further sets
        cells = [*stored_with_sets([cell for cell in cells if isinstance(cell, Cell)], records)]
    if protocol is not None:
        return stored_by_protocol(cells, records, protocol), records
    if warning := stale_warning(records_of(stale, cells)):
        warn(warning)
    if others := other_protocols(cells, records):
        warn(f"warning: {others}")
    if not {cell.key() for cell in cells} & {record["key"] for record in records}:
        raise ValueError(
            f"No record in {store.directory} belongs to this selection of table {table.number}; "
            "python -m bench run with the same arguments computes them."
        )
    return cells, records


def _cells(table: Table, config: RunConfig, records: Sequence[Record]) -> list[Identity]:
    """The cells of a plan, and those that records alone can give."""
    named, keys = config.editors is not None, [CellKey.of(record["cell"]) for record in records]
    seeds = sorted({key.seed for key in keys if key.seed is not None})
    config = replace(config, seeds=config.seeds or tuple(seeds) or None)
    config = with_own_editors(table, config, records)
    here, gone = split_points(points(config))
    check_hparams(config, here)
    planned = [job.cell for job in Planner(config).plan(here, named=named).jobs] if here else []
    return with_recorded(
        planned,
        gone,
        records,
        dtype=config.dtype,
        generation=config.generation,
        measures=config.measure,
    )


def _committed(
    table: Table, config: RunConfig, protocol: str | None
) -> tuple[Sequence[Identity], list[Record]]:
    """The selected cells of the committed reference, and their records."""
    records = table_records(table.number)
    cells = chosen(table, [identity_of(record["cell"]) for record in records], config)
    if cells and protocol is not None:
        cells = list(of_protocol(cells, protocol))
    if not cells:
        raise ValueError(f"The reference of table {table.number} has no cell of this selection.")
    lacking = missing_cells(cell for cell in cells if isinstance(cell, Cell))
    for sentence in missing_commands(table.number, lacking):
        warn(sentence)
    return chosen(table, [*cells, *lacking], config), records


def chosen(table: Table, cells: Iterable[Identity], config: RunConfig) -> list[Identity]:
    """Those of some cells that a selection names, in the order of the table.

    The unedited model is always among them; times of random weights are not.
    """
    kind, sets = KINDS[table.measures].identity, frozenset(config.measure)
    selected: list[tuple[tuple[object, ...], Identity]] = []
    for cell in cells:
        key = CellKey.of(cell.to_dict())
        if not isinstance(cell, kind) or not _is_selected(key, config):
            continue
        if isinstance(cell, TimingCell) and cell.weights != "trained":
            continue
        if not isinstance(cell, Cell) or _has_sets(cell.measures, sets):
            selected.append((key.order, cell))
    return [cell for _, cell in sorted(selected, key=lambda pair: pair[0])]


def _is_selected(key: CellKey, config: RunConfig) -> bool:
    if key.editor is None or key.dataset is None:
        return True
    if config.editors is None:
        editor = config.recent or in_paper(key.editor)
    else:
        editor = key.editor in editor_keys(config.editors)
    return (
        editor
        and (config.datasets is None or key.dataset in datasets.dataset_keys(config.datasets))
        and (config.edits is None or key.n_edits in config.edits)
        and (config.seeds is None or key.seed in config.seeds)
    )


def _has_sets(measures: Mapping[str, str], wanted: frozenset[str]) -> bool:
    """Whether a cell has the wanted metric sets, or none where none are wanted."""
    return wanted <= measures.keys() if wanted else not measures

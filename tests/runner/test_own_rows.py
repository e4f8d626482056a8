"""Rows of a table that only records can give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.core.cells import Cell
from bench.core.grids import GridPoint
from bench.runner.planning import Settings
from bench.runner.plugin_rows import with_recorded
from bench.store.results import Record
from tests.core.test_cell import CELL
from tests.report.plots.made import record

SETTINGS = Settings(dtype=CELL.dtype, generation=CELL.generation)
SETS = {"retention": "v1", "distance": "v1"}


def started(when: str, *names: Any, **changes: Any) -> Record:
    one = record(*names, **changes)
    return one | {"provenance": one["provenance"] | {"started": when}}


def point(one: Record) -> GridPoint:
    cell = Cell.from_dict(one["cell"])
    return GridPoint(
        backbone=cell.backbone,
        editor=cell.editor,
        dataset=cell.dataset,
        n_edits=cell.n_edits,
        seed=cell.seed,
        limit=cell.limit,
    )


@pytest.mark.parametrize("newest", ["with sets", "without"])
def test_records_hold_the_sets_that_are_asked_for(newest: str) -> None:
    plain = started("2" if newest == "without" else "1")
    wide = started("1" if newest == "without" else "2", measures=SETS)

    def keys(*measures: str) -> list[str]:
        settings = replace(SETTINGS, measures=measures)
        return [one.key() for one in with_recorded([], [point(plain)], [plain, wide], settings)]

    assert keys() == [plain["key"]]
    assert keys("retention") == [wide["key"]]
    assert keys("collapse") == []


def test_they_are_in_the_order_of_the_table() -> None:
    found = [
        record(editor, "zsre", n_edits, seed=seed)
        for n_edits in (10, 1)
        for editor in ("recipe", "grace", "ft")
        for seed in (1, 0)
    ]
    cells = with_recorded([], map(point, found), found, SETTINGS)
    assert [(one.n_edits, one.editor, one.seed) for one in cells if isinstance(one, Cell)] == [
        (n_edits, editor, seed)
        for n_edits in (1, 10)
        for editor in ("ft", "grace", "recipe")
        for seed in (0, 1)
    ]

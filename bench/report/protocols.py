"""The name of what a cell's numbers mean."""

from __future__ import annotations

from bench.cell import Cell
from bench.general_ability.cell import AbilityCell
from bench.identity import Identity
from bench.timing.cell import TimingCell


def protocol_id(cell: Identity) -> str:
    """`zsre/blocks/v1`: data set, protocol and version of its definitions."""
    if isinstance(cell, Cell):
        return f"{cell.dataset}/{cell.protocol}/v{cell.metric_version}"
    if isinstance(cell, AbilityCell):
        return f"ability/{cell.scoring}/v{cell.protocol_version}"
    if isinstance(cell, TimingCell):
        return f"{cell.dataset}/times/v{cell.timing_version}"
    raise TypeError(f"Wanted a cell of editing, ability or times, got {type(cell).__name__}.")

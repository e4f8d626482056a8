"""What a run says at its ends: to programs how it began, to people what to run next."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bench import __version__
from bench.cli import arguments
from bench.cli.next_steps import SEEDING, SEEDS, SELECTING, Done, next_steps
from bench.cli.where import add_where
from bench.core.cells import Cell, Identity
from bench.core.console import warn
from bench.core.events import RunStarted
from bench.core.grids import Table
from bench.store.results import ResultStore
from bench.tables.significance import FAVOURITE
from editors import registry


def beginning(args: argparse.Namespace, *, cells: int, todo: int) -> RunStarted:
    """What is told of a run of so many cells, of which some are to be computed."""
    chosen = {name: vars(args).get(name) for name in (*SELECTING, *SEEDING)}
    return RunStarted(
        version=__version__,
        selection={name: _plain(value) for name, value in chosen.items() if value is not None},
        cells=cells,
        found=cells - todo,
        todo=todo,
    )


def say_next(
    args: argparse.Namespace,
    table: Table,
    cells: Sequence[Identity],
    store: ResultStore,
    *,
    failed: int,
    left_out: Sequence[str],
) -> None:
    """One or two commands that make sense now."""
    parser = argparse.ArgumentParser()
    arguments.add_selection(parser)
    add_where(parser)
    done = Done(
        args=args,
        defaults=parser.parse_args([]),
        measures=table.measures,
        seeds=len({cell.seed for cell in cells if isinstance(cell, Cell)}),
        more_seeds=_seeds_are_missing(cells, store),
        comparable=_are_comparable(cells),
        failed=failed,
        left_out=left_out,
        commands=vars(args).get("commands", ()),
    )
    for step in next_steps(done):
        warn(f"next: {step.command}  # {step.what}")


def _are_comparable(cells: Sequence[Identity]) -> bool:
    """Whether there are cells of the editor that is tested, and of another."""
    editors = {cell.editor for cell in cells if isinstance(cell, Cell)}
    return registry.resolve(FAVOURITE) in editors and len(editors) > 1


def _seeds_are_missing(cells: Sequence[Identity], store: ResultStore) -> bool:
    """Whether any of the first seeds of these cells has no record."""
    return any(
        not store.path(replace(cell, seed=seed).key()).exists()
        for cell in cells
        if isinstance(cell, Cell)
        for seed in range(SEEDS)
    )


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float | bool) else str(value)

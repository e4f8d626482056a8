"""The `list` command: what there is, without importing any of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.core.console import say, warn
from bench.core.grids import TABLES
from bench.core.names import RECENT, editor_keys
from bench.datasets import available as datasets
from bench.datasets import broken as broken_datasets
from bench.datasets import get_dataset
from bench.models.backbones import EMBEDDED, HUB_IDS
from bench.report.plots import FIGURES
from editors.registry import broken as broken_editors
from editors.registry import describe

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `list`."""
    parser = subparsers.add_parser(
        "list",
        help="list editors, data sets, backbones, tables, figures",
        description="List the names that commands take.",
    )
    parser.set_defaults(func=show)


def show(_: argparse.Namespace) -> int:
    """Print one section per kind of name."""
    _section(
        "editors (key, label, family, aliases)", [_editor(key) for key in editor_keys(recent=True)]
    )
    _section("data sets (key, label, aliases)", [_dataset(key) for key in datasets()])
    _section(
        "backbones",
        [(name, "embedded") for name in EMBEDDED] + [(n, f"hub: {i}") for n, i in HUB_IDS.items()],
    )
    _section("tables", [(str(number), table.title) for number, table in TABLES.items()])
    _section("figures", [(name, figure.title) for name, figure in FIGURES.items()])
    for sentence in (*broken_editors().values(), *broken_datasets().values()):
        warn(f"left out: {sentence}")
    return 0


def _editor(key: str) -> tuple[str, ...]:
    entry = describe(key)
    notes = [*entry.aliases, *([] if entry.in_paper else [RECENT])]
    return key, entry.label, entry.family, ", ".join(notes)


def _dataset(key: str) -> tuple[str, ...]:
    dataset = get_dataset(key)
    return key, dataset.label, ", ".join(dataset.aliases)


def _section(heading: str, rows: Sequence[tuple[str, ...]]) -> None:
    say(f"{heading}:")
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        say("  " + "  ".join(cells).rstrip())

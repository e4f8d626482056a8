"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.core.escaping import markdown_cell


def line(texts: Iterable[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(map(markdown_cell, texts)) + " |"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose columns are aligned left."""
    return "\n".join(line(texts) for texts in (columns, ["---"] * len(columns), *rows))

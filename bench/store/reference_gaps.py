"""Cells that a reference lacks, where it has other editors' of the same data and number of edits.

The slowest editors are not run at every number of edits; their rows say so by a dash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from bench.core.cells import Cell


def missing(cells: Iterable[Cell]) -> list[Cell]:
    """One cell for each editor of a data set that has no record where another editor has one."""
    seen: dict[tuple[str, str, int], Cell] = {}
    for cell in cells:
        seen.setdefault((cell.editor, cell.dataset, cell.n_edits), cell)
    limits = {(dataset, n_edits): cell.limit for (_, dataset, n_edits), cell in seen.items()}
    models = {(editor, dataset): cell for (editor, dataset, _), cell in seen.items()}
    return [
        replace(cell, n_edits=n_edits, limit=limit)
        for (editor, dataset), cell in models.items()
        for (there, n_edits), limit in limits.items()
        if there == dataset and (editor, dataset, n_edits) not in seen
    ]


def sentences(table: int, cells: Sequence[Cell]) -> Iterator[str]:
    """For each number of edits, the command that makes what is missing there."""
    for n_edits in sorted({cell.n_edits for cell in cells}):
        those = [cell for cell in cells if cell.n_edits == n_edits]
        editors, datasets = (
            ",".join(dict.fromkeys(getattr(cell, name) for cell in those))
            for name in ("editor", "dataset")
        )
        yield (
            f"not run at {n_edits:,} edits: python -m bench run --table {table} "
            f"--editors {editors} --datasets {datasets} --edits {n_edits}"
        )

"""Whether a record's summary is what its rows say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from bench.core.cells import Cell
from bench.evaluation.record_kinds import AbilityCell
from bench.store.results import Record

TOLERANCE = 1e-9  # Python versions differ in the last bits of sums


def contradiction(record: Record) -> str | None:
    """The first number that does not follow from the rows, None where all do.

    Times have no rows that their summary could follow from.
    """
    kind = record["cell"].get("kind")
    if kind not in {Cell.kind, AbilityCell.kind}:
        return None
    try:
        wanted = _summary_of(record)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        return f"no summary follows from its rows: {type(error).__name__}: {error}"
    return next(_differences(wanted, record["summary"], "summary"), None)


def _summary_of(record: Record) -> dict[str, Any]:
    from bench.evaluation.driver import summary_of
    from bench.evaluation.general_ability.scoring import summarise

    if record["cell"].get("kind") == Cell.kind:
        cell = Cell.from_dict(record["cell"])
        return summary_of(cell, record["rows"], record.get("measured", {}))
    edited = {"reliability": record["summary"]["reliability"]}  # of the edits, which are no rows
    return summarise(record["rows"]) | edited


def _differences(wanted: Any, found: Any, where: str) -> Iterator[str]:
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        if wanted.keys() != found.keys():
            odd = min(wanted.keys() ^ found.keys())
            yield f"{where}/{odd} is in one of its rows and its summary alone"
        for name in wanted.keys() & found.keys():
            yield from _differences(wanted[name], found[name], f"{where}/{name}")
    elif not _equal(wanted, found):
        yield f"{where} is {found}, but {wanted} follows from its rows"


def _equal(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        return math.isclose(wanted, found, rel_tol=0, abs_tol=TOLERANCE)
    return bool(wanted == found)

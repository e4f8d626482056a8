"""All that a full record must hold: its form, and a summary that follows from its rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from bench.core.cells import Cell
from bench.evaluation.record_kinds import AbilityCell
from bench.store.results import Record, ResultStore, is_complete, read_file

TOLERANCE = 1e-9  # Python versions differ in the last bits of sums


def problems_in(store: ResultStore) -> Iterator[tuple[str, list[str]]]:
    """(file, what is wrong with it) of every record file, nothing where all is well."""
    for path in store.paths():
        try:
            record = read_file(path)
        except ValueError as error:
            yield str(path), [str(error)]
            continue
        yield str(path), [f"{path}: {problem}" for problem in problems(record)]


def problems(record: Record) -> list[str]:
    """What is wrong with a record that is sealed well: its form first, then its numbers."""
    from bench.store.schema import violations

    broken = violations(record)
    if broken or not is_complete(record):
        return broken
    if "rows" not in record:
        return ["it has no rows, so that nothing follows from them."]
    wrong = contradiction(record)
    return [] if wrong is None else [f"{wrong}."]


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


def _differences(wanted: Any, actual: Any, where: str) -> Iterator[str]:
    if isinstance(wanted, Mapping) and isinstance(actual, Mapping):
        if wanted.keys() != actual.keys():
            odd = min(wanted.keys() ^ actual.keys())
            yield f"{where}/{odd} is in one of its rows and its summary alone"
        for name in wanted.keys() & actual.keys():
            yield from _differences(wanted[name], actual[name], f"{where}/{name}")
    elif not _equal(wanted, actual):
        yield f"{where} is {actual}, but {wanted} follows from its rows"


def _equal(wanted: Any, actual: Any) -> bool:
    if isinstance(wanted, int | float) and isinstance(actual, int | float):
        return math.isclose(wanted, actual, rel_tol=0, abs_tol=TOLERANCE)
    return bool(wanted == actual)

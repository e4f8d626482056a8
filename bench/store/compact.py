"""A record without its rows: what tables, figures and checks need, small enough to be committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, quantiles
from typing import Any

from bench.core.cells import Cell, canonical
from bench.evaluation.metrics import SampleRow, accuracy, by_age
from bench.store.results import Record, sealed

DIGITS = 6  # decimals of scores in [0, 1]; four more than tables print in percent
WORST = 5  # samples kept with their texts
WORST_ITEMS = 3  # of each of them
_KEPT = ("schema", "key", "protocol", "status", "cell", "editor", "data")
_PLACES = ("backbone", "data")  # of this machine


def compact(record: Record) -> Record:
    """The record with summaries in place of rows.

    An editing record keeps quartiles of the seconds per edit, reliability and generality by the
    age of the edit, and the worst samples with their texts. A record without rows stays as it is.
    """
    if "rows" not in record:
        return record
    made = {k: v for k, v in record["provenance"].items() if k not in _PLACES}
    derived = {"provenance": made, "health": record.get("health", [])}
    if record["cell"].get("kind") == Cell.kind:
        derived |= {"summary": _summary(record["summary"]), **_of_edits(record)}
    else:
        derived |= {"summary": record["summary"]}
    return {**{name: record[name] for name in _KEPT if name in record}, **_rounded(derived)}


def _of_edits(record: Record) -> dict[str, Any]:
    rows: Sequence[SampleRow] = record["rows"]
    return {
        "edit_seconds": _quartiles([row["edit_seconds"] for row in rows]),
        "by_age": list(by_age(rows, record["cell"]["n_edits"])),
        "worst": [_sample(row) for row in sorted(rows, key=_goodness)[:WORST]],
    }


def line(record: Record) -> str:
    """A compact record as one line of JSON, sealed anew without its rows."""
    return canonical(sealed(compact(record)))


def _summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of both phases; those by type after editing alone."""
    kinds = {"after": summary["kinds"]["after"]}
    return {**summary, "kinds": kinds}


def _quartiles(values: Sequence[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3


def _goodness(row: SampleRow) -> tuple[float, str]:
    return fmean(accuracy(item) for item in row["items"]), row["id"]


def _sample(row: SampleRow) -> dict[str, Any]:
    """A sample's request and the items that went most wrong, with the answers."""
    items = sorted(row["items"], key=accuracy)[:WORST_ITEMS]
    return {
        "id": row["id"],
        "score": _goodness(row)[0],
        "items": [
            {
                "kind": f"{item['aspect']}/{item['kind']}",
                "prompt": item["prompt"],
                "target": item["target"],
                **{phase: item[phase]["teacher_forced"]["text"] for phase in ("before", "after")},
            }
            for item in items
        ],
    }


def _rounded(value: Any) -> Any:
    """The same with floats of `DIGITS` decimals."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list | tuple) else value

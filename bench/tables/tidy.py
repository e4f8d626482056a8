"""Records as a data frame: one row for each number, with what it is of.

Of an editing record that is every channel (how the model was asked), measure and aspect; of the
other kinds every number of the summary, by its place in it. A failed record has one row without a
value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.core.cells import Cell, stream_of
from bench.evaluation.record_kinds import identity_of
from bench.store.results import Record, failure_of, is_complete

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "backbone", "dtype", "editor", "label", "family", "dataset", "edits", "seed", "limit",
    "channel", "measure", "aspect", "value", "before",
    "seconds", "edit_seconds", "protocol", "metric_version", "key", "error",
)  # fmt: skip


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """The records' numbers, in the order of the records; columns are `COLUMNS`."""
    import pandas as pd

    rows = [row for record in records for row in _rows(record)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(record: Record) -> Iterator[dict[str, Any]]:
    shared = _shared(record)
    if not is_complete(record):
        yield {**shared, "error": failure_of(record)}
    elif record["cell"].get("kind") == Cell.kind:
        scores = record["summary"]["scores"]
        for channel, measures in scores["after"].items():
            for measure, aspects in measures.items():
                for aspect, value in aspects.items():
                    before = scores["before"].get(channel, {}).get(measure, {}).get(aspect)
                    number = {"channel": channel, "measure": measure, "aspect": aspect}
                    yield {**shared, **number, "value": value, "before": before}
    else:
        for place, value in _numbers(record["summary"]):
            yield {**shared, "measure": place, "value": value}


def _shared(record: Record) -> dict[str, Any]:
    """What all rows of a record have in common."""
    cell, facts = record["cell"], record["editor"]
    stream = stream_of(cell)
    return {
        "backbone": cell["backbone"], "dtype": cell["dtype"], "editor": stream.get("editor"),
        "label": facts["label"], "family": facts["family"], "dataset": stream.get("dataset"),
        "edits": stream.get("n_edits", 0), "seed": stream.get("seed"), "limit": cell.get("limit"),
        "seconds": sum(record["provenance"]["seconds"].values()),
        "edit_seconds": _edit_seconds(record), "protocol": identity_of(cell).protocol_id,
        "metric_version": cell.get("metric_version"), "key": record["key"],
    }  # fmt: skip


def _edit_seconds(record: Record) -> float | None:
    """Mean seconds of an edit, of a compact record their median; None where none was timed."""
    if "edit_seconds" in record:
        return float(record["edit_seconds"][1])
    seconds = [row["edit_seconds"] for row in record.get("rows", ()) if "edit_seconds" in row]
    return fmean(seconds) if seconds else None


def _numbers(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of nested mappings, by their path."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, f"{place}.{name}" if place else str(name))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield place, float(value)

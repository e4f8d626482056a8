"""A small full record of every released schema, of a real run, and records of the other kinds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from bench.evaluation import metrics
from bench.evaluation.general_ability import scoring
from bench.evaluation.record_kinds import identity_of
from bench.store import results
from bench.store.results import Record, ResultStore, encoded, sealed
from tests.core.test_cells import CELL
from tests.evaluation.test_record_kinds import CELL as ABILITY_CELL
from tests.evaluation.test_timing import cell as timing_cell
from tests.evaluation.test_timing import record as timing_record

RECORDS = Path(__file__).parents[1] / "store" / "records"
FACTS = {"label": "FT", "family": "MP", "retrieves_text": False}


def released(schema: int) -> Record:
    """The record of that schema version."""
    record: Record = json.loads((RECORDS / f"schema{schema}.json").read_text(encoding="utf-8"))
    return record


def editing(seed: int = 0, limit: int = 2, **changes: Any) -> Record:
    """A full editing record of another cell than the released ones."""
    record = released(2)
    changes = {"metric_version": metrics.PROTOCOL_VERSION} | changes
    cell = dataclasses.replace(CELL, seed=seed, n_edits=2, limit=limit, **changes)
    return sealed(record | {"cell": cell.to_dict(), "key": cell.key()})


def ability() -> Record:
    """A full record of general ability."""
    tasks = {"csqa": "1" * 64, "squad2": "2" * 64}
    version = scoring.PROTOCOL_VERSION
    cell = dataclasses.replace(ABILITY_CELL, tasks=tasks, protocol_version=version)
    rows: list[Any] = [
        {"task": "csqa", "index": i, "group": "", "prediction": i, "score": float(i == 1)}
        for i in range(3)
    ]
    rows.append(
        {"task": "squad2", "index": 0, "group": "answerable", "prediction": "Brenn", "score": 0.5,
         "f1": 0.4, "exact": 0.0}
    )  # fmt: skip
    body = {
        "data": {"source": "test", "questions": {"csqa": 3, "squad2": 1}},
        "summary": scoring.summarise(rows) | {"reliability": 0.5},
        "health": [{"block": 0, "effect": 1.0, "diverged_at": None}],
        "rows": rows,
    }
    return sealed(results.complete(cell, FACTS, released(2)["provenance"], body))


def timing() -> Record:
    """A full record of times."""
    # Of as many edits and queries as were timed.
    record = timing_record(dataclasses.replace(timing_cell("recipe"), queries=10))
    rest = {"editor": FACTS, "provenance": released(2)["provenance"]}
    return sealed(record | rest | {"data": {}, "health": [], "rows": []})


def failure(seed: int = 9) -> Record:
    """A record of a cell that failed."""
    cell = dataclasses.replace(CELL, seed=seed, metric_version=metrics.PROTOCOL_VERSION)
    try:
        raise MemoryError("too much")
    except MemoryError as error:
        return sealed(results.failed(cell, FACTS, released(2)["provenance"], error))


def everything() -> list[Record]:
    """One record of each kind and schema."""
    first, second = (of_seed(released(schema), schema - 1) for schema in (1, 2))
    return [first, sealed(second), ability(), timing(), failure()]


def of_seed(record: Record, seed: int) -> Record:
    """The record of another seed, by the present definitions."""
    cell = record["cell"] | {"seed": seed, "metric_version": metrics.PROTOCOL_VERSION}
    return record | {"cell": cell, "key": identity_of(cell).key()}


def store_of(directory: Path, *records: Record) -> ResultStore:
    """A store with these records."""
    store = ResultStore(directory)
    for record in records:
        store.put(record["key"], encoded(record))
    return store

"""Committed reference results: files of compact records as JSON lines, and Figure 4's data.

A compact record has no rows: what tables, figures and checks need, small enough to be committed.

`table1.jsonl` and its like hold a table's cells, `table1-recent.jsonl` and its like those of
editors that are not in the paper's tables, `table2-lm-eval.jsonl` Table 2 through lm-eval with a
limit of questions, `FIGURE_3` RECIPE with prompts of other lengths,
`COVARIANCE` ROME and MEMIT without the covariance of their keys. These are of the embedded preset;
files of another one begin with its name, such as `small-table1.jsonl`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

from bench.core.cells import Cell, canonical
from bench.core.files import write_text
from bench.core.grids import Preset
from bench.core.published import tables_folder
from bench.evaluation.intervals import intervals
from bench.evaluation.metrics import SampleRow, accuracy, by_age
from bench.store.results import Record, parse, sealed

FIGURE_3 = "figure3"
COVARIANCE = "covariance"
MAP = "figure4.json"

DIGITS = 6  # decimals of scores in [0, 1]; four more than tables print in percent
WORST = 5  # samples whose texts a compact record has
WORST_ITEMS = 3  # of each of them
_WHOLE = ("schema", "key", "protocol", "status", "cell", "editor", "data")  # copied as they are
_LOCAL = ("backbone", "data")  # paths on this machine, in the provenance


def reference_name(name: str, preset: Preset = "embedded") -> str:
    """What a file such as `table1` is called of the records of a preset."""
    return name if preset == "embedded" else f"{preset}-{name}"


def table_files(number: int, preset: Preset = "embedded") -> tuple[str, str]:
    """Names of a table's files: of the paper's editors, and of later ones."""
    own = reference_name(f"table{number}", preset)
    return own, f"{own}-recent"


def reference_folder() -> Path:
    """`tables/reference` of the wheel or of a checkout, or where it would be."""
    try:
        return Path(str(tables_folder("reference")))
    except FileNotFoundError:
        return Path("tables") / "reference"


def has_reference(name: str) -> bool:
    """Whether records are committed under that name."""
    return _file(name).is_file()


def reference_records(name: str) -> list[Record]:
    """The committed records of `table1` and its like, in the order of the file."""
    if has_reference(name):
        return _records(_file(name), f"tables/reference/{name}.jsonl")
    raise FileNotFoundError(f"There are no reference results of {name}.")


def table_records(
    number: int, *, scoring: str | None = None, preset: Preset = "embedded"
) -> list[Record]:
    """The committed records of a table: those of the paper's editors, then of later ones.

    Those of another `scoring` of Table 2 than the preset's have a file of their own.
    """
    own, recent = table_files(number, preset)
    if scoring is not None:
        return reference_records(f"{own}-{scoring}")
    later = reference_records(recent) if has_reference(recent) else []
    return [*reference_records(own), *later]


def write_reference(path: Path, records: Iterable[Record]) -> Path:
    """Write compact records, ordered by key, so that equal results give equal files."""
    lines = sorted(map(line, records), key=lambda text: str(json.loads(text)["key"]))
    return write_text(path, "".join(f"{text}\n" for text in lines))


def add_to_reference(path: Path, records: Iterable[Record]) -> Path:
    """Write compact records beside those of other cells that the file has, if it is there."""
    there = _records(path, str(path)) if path.exists() else []
    by_key = {record["key"]: record for record in [*there, *records]}
    return write_reference(path, by_key.values())


def _records(path: Path, place: str) -> list[Record]:
    lines = path.read_bytes().splitlines()
    if not lines:
        raise ValueError(f"{place} holds no record.")
    return [parse(text, f"{place}, line {number}") for number, text in enumerate(lines, start=1)]


def _file(name: str) -> Path:
    return reference_folder() / f"{name}.jsonl"


def compact(record: Record) -> Record:
    """The record with summaries in place of rows.

    An editing record has quartiles of the seconds per edit, reliability and generality by the
    age of the edit, and the worst samples with their texts. A record without rows stays as it is.
    """
    if "rows" not in record:
        return record
    provenance = {k: v for k, v in record["provenance"].items() if k not in _LOCAL}
    summary, health = record["summary"], record.get("health", [])
    derived = {"provenance": provenance, "health": health, "summary": summary}
    if record["cell"].get("kind") == Cell.kind:
        rows: Sequence[SampleRow] = record["rows"]
        # Scores of both phases; those by type after editing alone.
        derived["summary"] = {**summary, "kinds": {"after": summary["kinds"]["after"]}}
        derived |= {
            "edit_seconds": _quartiles([row["edit_seconds"] for row in rows]),
            "by_age": list(by_age(rows, record["cell"]["n_edits"])),
            "intervals": intervals(rows),
            "worst": [_sample(row) for row in sorted(rows, key=_goodness)[:WORST]],
        }
    return {**{name: record[name] for name in _WHOLE if name in record}, **_rounded(derived)}


def line(record: Record) -> str:
    """A compact record as one line of JSON, sealed without its rows."""
    return canonical(sealed(compact(record)))


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

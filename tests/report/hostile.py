"""Records for reports: some committed ones, and ones whose texts would break a careless page."""

from __future__ import annotations

import copy
from typing import Any

from bench.core.cells import plain
from bench.evaluation.record_kinds import identity_of
from bench.store.reference import reference_records
from bench.store.results import Record, sealed
from editors import registry

SCRIPT = "<script>alert(1)</script>"
TEXTS = (
    SCRIPT,
    "</script><img src=x onerror=alert(2)>",
    "\"quotes' & <b>tags</b> {{ 7 * 7 }} ${7 * 7}",
    "right\u202eto left\u2066 and \u2028 lines \x1b[31m",
    "<!-- <script> -->]]>`",
)
BACKBONE = "<b>mini</b>/\"llama'"
EDITORS = ("ft", "recipe")
CHANGED = "ft"  # has an attack among its hyper-parameters too, so that figures leave it out


def small_tables() -> dict[str, list[Record]]:
    """Some committed records of each table, by the name of their file."""
    return {
        "table1": [r for r in reference_records("table1") if _is_small(r["cell"])],
        "table2": _of_editors("table2"),
        "table3": _of_editors("table3"),
        "table4": [r for r in reference_records("table4") if r["cell"]["n_edits"] == 100],
        "table6": [r for r in reference_records("table6") if _is_small(r["cell"])],
        "covariance": reference_records("covariance")[:3],
    }


def hostile_records() -> list[Record]:
    """Records of two editors with attacks in every text that a user or a data set could choose."""
    chosen = [r for r in small_tables()["table1"] if r["cell"]["dataset"] == "zsre"]
    return [_attacked(record) for record in chosen]


def with_cell(record: Record, **changes: Any) -> Record:
    """The record of a cell that differs so, with its key."""
    cell = record["cell"] | changes
    return sealed(record | {"cell": cell, "key": identity_of(cell).key()})


def _attacked(record: Record) -> Record:
    one = copy.deepcopy(record)
    one["editor"]["label"] = SCRIPT
    one["provenance"]["hardware"] |= {"processor": TEXTS[1], TEXTS[2]: TEXTS[3]}
    one["summary"]["collapse"] = {TEXTS[4]: {"first": TEXTS[0]}, "share": 0.25}
    for sample in one["worst"]:
        sample["id"] = TEXTS[2]
        for i, item in enumerate(sample["items"]):
            item |= {"prompt": TEXTS[i % 5], "target": TEXTS[1], "before": TEXTS[3]}
            item["after"] = TEXTS[4]
    editor = one["cell"]["editor"]
    hparams = plain(registry.hparams_for(editor, BACKBONE).to_dict())
    if editor == CHANGED:
        hparams |= {TEXTS[0]: TEXTS[1]}
    return with_cell(one, backbone=BACKBONE, dataset_revision=TEXTS[0], hparams=hparams)


def _is_small(cell: dict[str, Any]) -> bool:
    return (
        cell["editor"] in EDITORS
        and cell["n_edits"] in {1, 10}
        and cell["dataset"] in {"zsre", "counterfact"}
        and cell["seed"] in {0, 1}
    )


def _of_editors(name: str) -> list[Record]:
    found = []
    for record in reference_records(name):
        cell = record["cell"]
        stream = (cell["edits"] or {}) if "edits" in cell else cell
        if stream.get("editor") in {None, *EDITORS} and stream.get("n_edits") != 1000:
            found.append(record)
    return found

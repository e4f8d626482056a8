"""Records for reports: some committed ones, and ones whose texts would break a careless page."""

from __future__ import annotations

import copy
from typing import Any

from bench.core.cells import CellKey, plain
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
        "table1": list(filter(_is_small, reference_records("table1"))),
        "table2": _of_editors("table2"),
        "table3": _of_editors("table3"),
        "table4": [r for r in reference_records("table4") if r["cell"]["n_edits"] == 100],
        "table6": list(filter(_is_small, reference_records("table6"))),
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
    new = copy.deepcopy(record)
    new["editor"]["label"] = SCRIPT
    new["provenance"]["hardware"] |= {"processor": TEXTS[1], TEXTS[2]: TEXTS[3]}
    new["summary"]["collapse"] = {TEXTS[4]: {"first": TEXTS[0]}, "share": 0.25}
    for sample in new["worst"]:
        sample["id"] = TEXTS[2]
        for i, item in enumerate(sample["items"]):
            item |= {"prompt": TEXTS[i % 5], "target": TEXTS[1], "before": TEXTS[3]}
            item["after"] = TEXTS[4]
    editor = new["cell"]["editor"]
    hparams = plain(registry.hparams_for(editor, BACKBONE).to_dict())
    if editor == CHANGED:
        hparams |= {TEXTS[0]: TEXTS[1]}
    return with_cell(new, backbone=BACKBONE, dataset_revision=TEXTS[0], hparams=hparams)


def _is_small(record: Record) -> bool:
    key = CellKey.of(record["cell"])
    return (
        key.editor in EDITORS
        and key.n_edits in {1, 10}
        and key.dataset in {"zsre", "counterfact"}
        and key.seed in {0, 1}
    )


def _of_editors(name: str) -> list[Record]:
    keys = [(record, CellKey.of(record["cell"])) for record in reference_records(name)]
    return [r for r, key in keys if key.editor in {None, *EDITORS} and key.n_edits != 1000]

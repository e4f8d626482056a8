"""Data files of invented rows in the three published forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.datasets.base import Split

FILE_NAMES: dict[tuple[str, Split], str] = {
    ("zsre", "train"): "zsre_mend_train.json",
    ("zsre", "test"): "zsre_mend_eval.json",
    ("counterfact", "train"): "counterfact-train.json",
    ("counterfact", "test"): "counterfact-edit.json",
    ("ripple_edits", "train"): "ripe_train.json",
    ("ripple_edits", "test"): "ripe_test.json",
}


def zsre_row(**changes: Any) -> dict[str, Any]:
    row = {
        "subject": "Lumo Vand",
        "src": "Where was Lumo Vand born?",
        "rephrase": "What is the birthplace of Lumo Vand?",
        "alt": "Port Esk",
        "answers": ["Orrin"],
        "loc": "nq question: who wrote the tin harp",
        "loc_ans": "Sela Marr",
    }
    return row | changes


def counterfact_row(**changes: Any) -> dict[str, Any]:
    row = {
        "case_id": 7,
        "prompt": "The mother tongue of Lumo Vand is",
        "target_new": "Eskish",
        "subject": "Lumo Vand",
        "ground_truth": "Orrinese",
        "rephrase_prompt": "Lumo Vand grew up speaking",
        "locality_prompt": "The mother tongue of Sela Marr is",
        "locality_ground_truth": "Orrinese",
    }
    return row | changes


def ripe_row(**changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "example_type": "popular",
        "prompt": "The name of the country of citizenship of Lumo Vand is",
        "target_new": "Eskland",
        "subject": "Lumo Vand",
        "ground_truth": "Orria",
        "Logical_Generalization": [],
        "Compositionality_I": [probe("The currency of the country of Lumo Vand is", "esk", "ESK")],
        "Compositionality_II": [],
        "Subject_Aliasing": [],
        "Relation_Specificity": [probe("The name of the mother of Lumo Vand is", "Ara Vand")],
        "Forgetfulness": [],
    }
    return row | changes


def probe(prompt: str, *targets: str) -> dict[str, Any]:
    return {"prompt": prompt, "targets": list(targets)}


EXAMPLE_ROWS = {"zsre": zsre_row, "counterfact": counterfact_row, "ripple_edits": ripe_row}


def write(directory: Path, key: str, split: Split, rows: object) -> Path:
    """Write rows under the published name; returns the file."""
    path = directory / FILE_NAMES[key, split]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path

"""Editing cells and records of them, with scores given by hand."""

from __future__ import annotations

import dataclasses
from typing import Any

from bench.core.cells import Cell
from bench.store import results
from bench.store.results import Record
from tests.core.test_cells import CELL


def cell(editor: str, dataset: str, n_edits: int, seed: int) -> Cell:
    return dataclasses.replace(
        CELL, editor=editor, dataset=dataset, n_edits=n_edits, seed=seed, limit=50
    )


def record(
    of: Cell,
    *,
    rel: float,
    gen: float,
    loc: float,
    honest: float = 0.0,
    diverged_at: int | None = None,
) -> Record:
    main = {"reliability": rel, "generality": gen, "locality": loc}
    scores = {
        "teacher_forced": {"token_accuracy": main | {"average": (rel + gen + loc) / 3}},
        "prompt_only": {"token_accuracy": {"average": honest}},
    }
    kinds = {"generality/Subject_Aliasing": gen, "locality/Relation_Specificity": loc}
    facts = {"label": "?", "family": "?", "retrieves_text": of.editor == "recipe"}
    effect = 1.0 if diverged_at is None else None
    body: dict[str, Any] = {
        "health": [{"block": 0, "effect": effect, "diverged_at": diverged_at}],
        "summary": {
            "scores": {"before": {}, "after": scores},
            "kinds": {"after": {"teacher_forced": {"token_accuracy": kinds}}},
        },
    }
    return results.complete(of, facts, {}, body)

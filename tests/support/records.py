"""Records written by hand: compact ones of editors with their presets, and scores of a cell."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.core.cells import Cell
from bench.report.plots.drawing import Drawing, Source
from bench.store.results import Record, complete, sealed
from editors import registry
from tests.core.test_cells import CELL

SAMPLES = 10_000  # of a test split
PROVENANCE = {"hardware": {"processor": "Abacus", "device": "cpu"}, "threads": 1}


def record(
    editor: str = "ft",
    dataset: str = "zsre",
    n_edits: int = 10,
    *,
    seed: int = 0,
    score: float = 0.5,
    hparams: dict[str, Any] | None = None,
    **changes: Any,
) -> Record:
    """A complete compact record with `score` in every column but Loc, which is 1."""
    entry = registry.describe(editor)
    preset = registry.hparams_for(editor, "mini-llama").to_dict()
    cell = dataclasses.replace(
        CELL, editor=editor, dataset=dataset, n_edits=n_edits, limit=max(20, n_edits), seed=seed,
        hparams=preset | (hparams or {}), inputs={}, **{"part": seed or None} | changes,
    )  # fmt: skip
    values = {"reliability": score, "generality": score, "locality": 1.0}
    values["average"] = sum(values.values()) / 3
    kinds = {"teacher_forced": {"token_accuracy": {"reliability/request": score}}}
    scores = {name: {"token_accuracy": values} for name in ("teacher_forced", "prompt_only")}
    groups = min(2, n_edits)
    ages = [(i * n_edits // groups, (i + 1) * n_edits // groups - 1) for i in range(groups)]
    facts = {"label": entry.label, "family": entry.family, "retrieves_text": False}
    body = {
        "data": {"samples": SAMPLES},
        "summary": {"scores": {"after": scores}, "kinds": {"after": kinds}},
        "health": [],
        "edit_seconds": [0.1, 0.2, 0.4],
        "by_age": [
            {"from": low, "to": high, "samples": 5, "reliability": score / (i + 1)}
            for i, (low, high) in enumerate(ages)
        ],
        "worst": [],
    }
    return complete(cell, facts, PROVENANCE, body)


def cell(editor: str, dataset: str, n_edits: int, seed: int) -> Cell:
    """A cell of 50 samples, others than those of other seeds."""
    return dataclasses.replace(
        CELL, editor=editor, dataset=dataset, n_edits=n_edits, seed=seed, limit=50,
        part=seed or None,
    )  # fmt: skip


def scored_record(
    of: Cell,
    *,
    rel: float,
    gen: float,
    loc: float,
    honest: float = 0.0,
    diverged_at: int | None = None,
) -> Record:
    """A record of a cell with the columns of its tables."""
    main = {"reliability": rel, "generality": gen, "locality": loc}
    scores = {
        "teacher_forced": {"token_accuracy": main | {"average": (rel + gen + loc) / 3}},
        "prompt_only": {"token_accuracy": {"average": honest}},
    }
    kinds = {"generality/Subject_Aliasing": gen, "locality/Relation_Specificity": loc}
    facts = {"label": "?", "family": "?", "retrieves_text": of.editor == "recipe"}
    effect = 1.0 if diverged_at is None else None
    body: dict[str, Any] = {
        "data": {"samples": SAMPLES},
        "health": [{"block": 0, "effect": effect, "diverged_at": diverged_at}],
        "summary": {
            "scores": {"before": {}, "after": scores},
            "kinds": {"after": {"teacher_forced": {"token_accuracy": kinds}}},
        },
    }
    return complete(of, facts, {}, body)


def source(records: Iterable[Record], edits: int | None = None, prompt_map: Any = None) -> Source:
    listed = list(records)
    return Source(
        records=lambda: listed, prompt_map=lambda: prompt_map, backbone="mini-llama", edits=edits
    )


def write_lines(path: Path, records: Iterable[Record]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps(sealed(record)) + "\n" for record in records), encoding="utf-8"
    )
    return path


def csv_lines(drawing: Drawing) -> list[str]:
    return drawing.csv().decode().splitlines()


def map_data() -> dict[str, Any]:
    """Data of Figure 4 of two names and prompts of one and three tokens; five have no weights."""
    ratios = {"within": 2.0, "lower_quartile": 0.5, "median": 1.5, "upper_quartile": 4.0}
    spaces: list[dict[str, Any]] = [
        {"space": "embeddings"},
        *({"space": "map", "perplexity": 10, "start": start} for start in ("pca", 0)),
    ]
    records = {n: record("recipe", "counterfact", 2, hparams={"prompt_length": n}) for n in (1, 3)}
    return {
        "schema": 1,
        "settings": {"edits": 2, "seed": 0, "starts": ["pca", 0], "drawn_perplexity": 10},
        "cells": {str(length): own["cell"] for length, own in records.items()},
        "missing": [5],
        "versions": {},
        "names": [
            {"text": "Ada", "subject": True, "object": True, "at": [0.0, 1.0]},
            {"text": "Bo", "subject": True, "object": False, "at": [2.0, -1.0]},
        ],
        "prompts": {
            "1": [[[5.0, 5.0]], [[6.0, 5.5]]],
            "3": [[[1.0, 0.0], [1.5, 0.5], [2.5, 0.25]]] * 2,
        },
        "nearness": [s | {"prompt_length": n} | ratios for n in records for s in spaces],
    }

"""Rows, and a running cell, built by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.checks.contract.tiny import SAMPLES
from bench.core.cells import Cell
from bench.evaluation.inference import BatchLimit
from bench.evaluation.metric_sets import MeasureInputs, RunningCell
from bench.evaluation.metrics import ItemRow, SampleRow
from editors.base import Editor, EditSample

TEXTS = ("one two three four five six seven eight nine ten", "a b c d e f g h i j k l", "too short")


def text_file(directory: Path) -> MeasureInputs:
    """A fixed text of two passages; the third text is too short."""
    path = directory / "text.txt"
    path.write_text("\n".join(TEXTS) + "\n", "utf-8")
    return MeasureInputs(text=str(path))


def running(
    cell: Cell,
    editor: Editor[Any],
    samples: tuple[EditSample, ...] = SAMPLES,
    *,
    inputs: MeasureInputs,
    rows: int = 64,
    of: type[RunningCell] = RunningCell,
) -> RunningCell:
    return of(
        cell=cell, editor=editor, samples=samples, limit=BatchLimit(rows), inputs=inputs,
        after_batch=lambda: None,
    )  # fmt: skip


def item(aspect: Any, kind: str, before: list[int], after: list[int], target: list[int]) -> ItemRow:
    return {
        "aspect": aspect, "kind": kind, "prompt": "p", "target": "t", "target_ids": target,
        "before": {"teacher_forced": {"ids": before, "text": ""}},
        "after": {"teacher_forced": {"ids": after, "text": ""}},
    }  # fmt: skip


def row(position: int, *items: ItemRow, block: int = 0) -> SampleRow:
    return {
        "id": str(position), "block": block, "position": position, "edit_seconds": 0.1,
        "items": list(items),
    }  # fmt: skip

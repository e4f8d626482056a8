"""Editors with a repository: an edit alone against one of a batch, and bytes per stored edit."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from bench.core.names import editor_keys
from bench.evaluation.context import Loaded
from benchmarks.cells import cell_job
from benchmarks.lines import Line
from editors import registry
from editors.base import Editor, EditRequest

NAME = "repositories"
MANY, FEW = 1_000, 40  # edits of editors that encode, and of those that optimise
_OPTIMISE = ("grace", "r_rome")


def repositories() -> Iterator[Line]:
    """Two lines for each editor of the retrieval family."""
    loaded = Loaded()
    for key in editor_keys():
        if registry.describe(key).family == "RB":
            yield from _lines(key, loaded, FEW if key in _OPTIMISE else MANY)


def _lines(key: str, loaded: Loaded, count: int) -> Iterator[Line]:
    job = cell_job(key, 100)
    lm = loaded.language_model(job)
    editor = loaded.editor(lm, key, job.cell.hparams, job.sources, keep=False)
    found = loaded.samples(job.cell.dataset, job.data_dir, job.cell.dataset_digest)
    requests = [sample.request for sample in found.samples[:count]]
    editor.edit(requests[:2])  # the first calls of a process are slower
    alone = at_once = 0.0
    for half in (requests[: count // 2], requests[count // 2 :]):  # the sides take turns
        alone += _seconds(editor, [[request] for request in half])
        at_once += _seconds(editor, [half])
    yield Line(
        benchmark=NAME,
        subject=key,
        figure="s per edit, in a batch",
        ours=at_once / count,
        plain=alone / count,
        note=f"other side: one at a time; {count / at_once:,.0f} edits/s in batches",
    )
    editor.reset()
    empty = _bytes(editor)
    editor.edit(requests)
    yield Line(
        benchmark=NAME,
        subject=key,
        figure="bytes per stored edit",
        ours=(_bytes(editor) - empty) / count,
        note="of what a checkpoint holds",
    )
    editor.reset()


def _seconds(editor: Editor[Any], calls: Sequence[Sequence[EditRequest]]) -> float:
    editor.reset()
    start = time.perf_counter()
    for requests in calls:
        editor.edit(requests)
    return time.perf_counter() - start


def _bytes(editor: Editor[Any]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in editor.state_dict().values())

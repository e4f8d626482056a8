"""One timing cell: edits and queries in the cell's dtype, then the same queries in bfloat16."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import safe_open
from torch import Tensor

from bench.evaluation.checkpointing import Checkpoint, Checkpointer
from bench.evaluation.context import Context
from bench.evaluation.jobs import TimingJob
from bench.evaluation.timing.measure import (
    Seconds,
    edit_seconds,
    forward_seconds,
    inference_seconds,
)
from bench.evaluation.timing.stand_ins import stand_ins
from bench.models.resources import resources_for
from editors import registry
from editors.base import Editor, EditRequest, Hparams, Resources
from editors.parts.language_model import LanguageModel

PUBLISHED_DTYPE, HALF = "float32", "bfloat16"  # queries in the second stand beside the first


@dataclass(frozen=True)
class Edited:
    """An editor with its edits, apart from any model: it goes from one dtype to another."""

    cls: type[Editor[Any]]
    hparams: Hparams
    resources: Resources
    state: dict[str, Tensor]


class Session:
    """What is timed for one cell, with its requests; at most one model is held at a time."""

    def __init__(
        self,
        job: TimingJob,
        context: Context,
        requests: Sequence[EditRequest],
        checkpointer: Checkpointer | None = None,
    ) -> None:
        self._job = job
        self._context = context
        self._requests = requests
        self._checkpointer = checkpointer or Checkpointer()

    def summary(self) -> dict[str, Any]:
        """Seconds by name, as records hold them; None for what the cell has not."""
        with TemporaryDirectory() as folder:
            summary, edited = self._as_asked(Path(folder))
            half = self._in_half(edited) if self._job.cell.dtype == PUBLISHED_DTYPE else None
        return summary | {"forward_bfloat16": _plain(half)}

    def _as_asked(self, folder: Path) -> tuple[dict[str, Any], Edited | None]:
        cell, lm = self._job.cell, self._context.language_model(self._job)
        if cell.editor is None:
            return {"edit": None, **self._inference(lm, None), "trained_parameters": None}, None
        cls = registry.editor_class(cell.editor)
        hparams = cls.hparams_class.from_dict(cell.hparams)
        resources = self._resources(cls, lm, hparams, folder)
        kept = self._checkpointer.read()
        seconds: dict[str, Any] = {} if kept is None else dict(kept.progress["seconds"])
        if cell.weights == "random" and hparams.stops_early:
            if "edit_least" not in seconds:
                hasty = cls(lm, hparams, replace(resources, stopping="at_once"))
                with _without_edits(hasty) as editor:
                    seconds["edit_least"] = self._edits(editor, {}, kept)
                kept = None
            resources = replace(resources, stopping="never")
        with _without_edits(cls(lm, hparams, resources)) as editor:
            seconds["edit"] = self._edits(editor, seconds, kept)
            self._checkpointer.check()
            seconds |= self._inference(lm, editor)
            state = {name: tensor.clone() for name, tensor in editor.state_dict().items()}
        seconds["trained_parameters"] = _count(resources.artefact)
        return seconds, Edited(cls, hparams, resources, state)

    def _edits(
        self, editor: Editor[Any], before: Mapping[str, Any], kept: Checkpoint | None
    ) -> dict[str, float] | None:
        """Seconds of the edits; those of edits `before` are kept with them."""
        requests, facts = self._requests[: self._job.cell.n_edits], {"seconds": dict(before)}
        found = edit_seconds(
            editor, requests, checkpointer=self._checkpointer, facts=facts, checkpoint=kept
        )
        return _plain(found)

    def _in_half(self, edited: Edited | None) -> Seconds:
        """Queries behind the same edits; statistics and edits are those of the other dtype."""
        lm, queries = self._context.language_model(self._job, HALF), self._job.cell.queries
        if edited is None:
            return forward_seconds(lm, self._requests, None, queries=queries)
        with _without_edits(edited.cls(lm, edited.hparams, edited.resources)) as editor:
            editor.load_state_dict(edited.state)
            return forward_seconds(lm, self._requests, editor, queries=queries)

    def _inference(self, lm: LanguageModel, editor: Editor[Any] | None) -> dict[str, Any]:
        cell = self._job.cell
        found = inference_seconds(
            lm, self._requests, editor, queries=cell.queries, new_tokens=cell.new_tokens
        )
        return asdict(found)

    def _resources(
        self, cls: type[Editor[Any]], lm: LanguageModel, hparams: Hparams, folder: Path
    ) -> Resources:
        sources = self._job.stream.sources
        sources.check(self._job.cell.inputs)
        if self._job.cell.weights == "random":
            return stand_ins(cls, lm, hparams, sources, folder)
        return resources_for(lm, hparams, sources)


@contextmanager
def _without_edits(editor: Editor[Any]) -> Iterator[Editor[Any]]:
    """Reset before and, however it ends, behind."""
    editor.reset()
    try:
        yield editor
    finally:
        editor.reset()


def _plain(seconds: Seconds | None) -> dict[str, float] | None:
    return None if seconds is None else asdict(seconds)


def _count(artefact: Path | None) -> int | None:
    """How many numbers an editor's own weights are; None where it has none."""
    if artefact is None:
        return None
    with safe_open(artefact, framework="pt") as file:
        counts = [prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    return int(sum(counts))

"""One timing cell, ready to be run."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.edit_job import EditJob
from bench.jobs import Job, Results, facts_of
from bench.timing.cell import TimingCell

if TYPE_CHECKING:
    from pathlib import Path

    from bench.loaded import Loaded


@dataclass(frozen=True, kw_only=True)
class TimingJob(Job):
    """A cell with the places of its inputs; `stream` names data and sources in any case."""

    cell: TimingCell
    stream: EditJob

    @property
    def size(self) -> tuple[int, int]:
        """Edits; see the base class."""
        return self.cell.n_edits, 0

    def results(self, loaded: Loaded) -> Results:
        """Edit and ask, one at a time; see the base class."""
        from bench.seeds import draw
        from bench.timing.measure import edit_seconds, inference_seconds

        cell, stream, start = self.cell, self.stream, time.perf_counter()
        lm = loaded.language_model(self)
        found = loaded.samples(cell.dataset, stream.data_dir, cell.dataset_digest)
        drawn = draw(found.samples, seed=cell.seed, limit=max(cell.n_edits, cell.queries))
        requests = [sample.request for sample in drawn]
        seconds = {"load": time.perf_counter() - start}
        counts = {"queries": cell.queries, "new_tokens": cell.new_tokens}
        if cell.editor is None:
            inference = inference_seconds(lm, requests, None, **counts)
            return _results(found.facts(), seconds, inference=inference)
        editor = loaded.editor(lm, cell.editor, cell.hparams, stream.sources)
        editor.reset()
        try:
            edit = edit_seconds(editor, requests[: cell.n_edits])
            inference = inference_seconds(lm, requests, editor, **counts)
        finally:
            editor.reset()
        return _results(
            found.facts(),
            seconds,
            edits=cell.n_edits,
            edit=edit,
            inference=inference,
            parameters=_trained_parameters(stream.sources.artefact),
        )

    def editor_facts(self) -> dict[str, Any]:
        """What tables need to know of the editor, None for the unedited model."""
        if self.cell.editor is None:
            return {"label": None, "family": None, "retrieves_text": False}
        return facts_of(self.cell.editor)

    def places(self) -> dict[str, str]:
        """Where the inputs were, for the record's provenance."""
        return super().places() | {"data": str(self.stream.data_dir)}


def _results(
    data: dict[str, Any],
    seconds: dict[str, float],
    *,
    inference: Any,
    edit: Any = None,
    edits: int = 0,
    parameters: int | None = None,
) -> Results:
    summary = {
        "edit": None if edit is None else dataclasses.asdict(edit),
        **{name: dataclasses.asdict(value) for name, value in vars(inference).items()},
        "trained_parameters": parameters,
    }
    body = {"data": data, "summary": summary, "health": [], "rows": []}
    return Results(body=body, seconds=seconds, edits=edits)


def _trained_parameters(artefact: Path | None) -> int | None:
    """How many numbers an editor's own weights are; None where it has none."""
    if artefact is None:
        return None
    from math import prod

    from safetensors import safe_open

    with safe_open(artefact, framework="pt") as file:
        counts = [prod(file.get_slice(name).get_shape()) for name in file.keys()]  # noqa: SIM118
    return int(sum(counts))

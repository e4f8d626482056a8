"""One timing cell, ready to be run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.evaluation.edit_job import EditJob
from bench.evaluation.jobs import Job, Results, facts_of
from bench.evaluation.record_kinds import TimingCell

if TYPE_CHECKING:
    from bench.evaluation.checkpointing import Checkpointer
    from bench.evaluation.context import Loaded


@dataclass(frozen=True, kw_only=True)
class TimingJob(Job):
    """A cell with the places of its inputs; `stream` names data and sources in any case."""

    cell: TimingCell
    stream: EditJob

    @property
    def size(self) -> tuple[int, int]:
        """Edits; see the base class."""
        return self.cell.n_edits, 0

    def results(self, loaded: Loaded, checkpointer: Checkpointer) -> Results:
        """Edit and ask, one at a time; see the base class."""
        from bench.core.numerics import draw
        from bench.evaluation.timing.session import Session

        cell, stream, start = self.cell, self.stream, time.perf_counter()
        loaded.language_model(self)
        found = loaded.samples(cell.dataset, stream.data_dir, cell.dataset_digest)
        drawn = draw(found.samples, seed=cell.seed, limit=max(cell.n_edits, cell.queries))
        seconds = {"load": time.perf_counter() - start}
        requests = [sample.request for sample in drawn]
        summary = Session(self, loaded, requests, checkpointer).summary()
        body = {"data": found.facts(), "summary": summary, "health": [], "rows": []}
        return Results(body=body, seconds=seconds, edits=cell.n_edits)

    def editor_facts(self) -> dict[str, Any]:
        """What tables need to know of the editor, None for the unedited model."""
        if self.cell.editor is None:
            return {"label": None, "family": None, "retrieves_text": False}
        return facts_of(self.cell.editor)

    def places(self) -> dict[str, str]:
        """Where the inputs were, for the record's provenance."""
        return super().places() | {"data": str(self.stream.data_dir)}

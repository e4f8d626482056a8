"""One general-ability cell, ready to be run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.evaluation.edit_job import EditJob
from bench.evaluation.general_ability.loading import Source
from bench.evaluation.general_ability.scoring import summarise
from bench.evaluation.jobs import Job, Results, facts_of
from bench.evaluation.record_kinds import AbilityCell

if TYPE_CHECKING:
    from bench.evaluation.checkpointing import Checkpointer
    from bench.evaluation.context import Loaded
    from bench.evaluation.general_ability.running import AbilityRun


@dataclass(frozen=True, kw_only=True)
class AbilityJob(Job):
    """A cell with the places of its inputs."""

    cell: AbilityCell
    source: Source  # of the questions
    stream: EditJob | None  # whose editor and data set make the edits; None: no edits

    @property
    def size(self) -> tuple[int, int]:
        """Edits, then questions of each set; see the base class."""
        edits = self.cell.edits
        return 0 if edits is None else edits.n_edits, self.cell.task_limit or 0

    def results(self, loaded: Loaded, checkpointer: Checkpointer) -> Results:
        """Edit and ask; see the base class."""
        start = time.perf_counter()
        sets = loaded.ability_sets(self.source, self.cell.tasks)
        lm = loaded.language_model(self)
        questions = {key: len(one.items) for key, one in sets.items()}
        data: dict[str, Any] = {"source": self.source.name, "questions": questions}
        if self.stream is None:
            from bench.evaluation.general_ability.running import run_unedited

            seconds = {"load": time.perf_counter() - start}
            ran = run_unedited(self.cell, lm, sets, checkpointer=checkpointer)
            return self._results(data, ran, seconds)
        from bench.evaluation.general_ability.running import run_edited

        cell, stream = self.stream.cell, self.stream
        stream.sources.check(cell.inputs)
        editor = loaded.editor(lm, cell.editor, cell.hparams, stream.sources, keep=True)
        found = loaded.samples(cell.dataset, stream.data_dir, cell.dataset_digest)
        seconds = {"load": time.perf_counter() - start}
        ran = run_edited(self.cell, editor, found.samples, sets, checkpointer=checkpointer)
        return self._results(data | {"edits": found.facts()}, ran, seconds)

    def editor_facts(self) -> dict[str, Any]:
        """What tables need to know of the editor, None for the unedited model."""
        if self.stream is None:
            return {"label": None, "family": None, "retrieves_text": False}
        return facts_of(self.stream.cell.editor)

    def places(self) -> dict[str, str]:
        """Where the inputs were, for the record's provenance."""
        places = super().places() | {"questions": str(self.source.directory or "hub")}
        return places | ({} if self.stream is None else {"data": str(self.stream.data_dir)})

    def _results(self, data: dict[str, Any], ran: AbilityRun, seconds: dict[str, float]) -> Results:
        body = {
            "data": data,
            "summary": summarise(ran.rows) | {"reliability": ran.reliability},
            "health": [block.to_dict() for block in ran.health],
            "rows": ran.rows,
        }
        edits = 0 if self.cell.edits is None else self.cell.edits.n_edits
        return Results(body=body, seconds=seconds | ran.seconds, edits=edits)

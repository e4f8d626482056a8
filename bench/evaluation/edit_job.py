"""One cell of Tables 1, 5 and 6, ready to be run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.cells import Cell
from bench.evaluation.jobs import Job, Results, facts_of
from bench.models.corpora import NO_INPUTS, MeasureInputs
from bench.models.resources import Sources

if TYPE_CHECKING:
    from bench.evaluation.checkpointing import Checkpointer
    from bench.evaluation.context import Loaded


@dataclass(frozen=True, kw_only=True)
class EditJob(Job):
    """An editing cell with the places of its inputs."""

    cell: Cell
    sources: Sources
    data_dir: Path
    inputs: MeasureInputs = NO_INPUTS  # of optional metric sets

    @property
    def size(self) -> tuple[int, int]:
        """Edits, then samples; see the base class."""
        return self.cell.n_edits, self.cell.limit or 0

    def results(self, loaded: Loaded, checkpointer: Checkpointer) -> Results:
        """Run the cell's protocol; see the base class."""
        from bench.evaluation.driver import run_cell, summary_of

        cell, start = self.cell, time.perf_counter()
        self.sources.check(cell.inputs)
        lm = loaded.language_model(self)
        editor = loaded.editor(lm, cell.editor, cell.hparams, self.sources, keep=True)
        found = loaded.samples(cell.dataset, self.data_dir, cell.dataset_digest)
        seconds = {"load": time.perf_counter() - start}
        ran = run_cell(cell, editor, found.samples, checkpointer=checkpointer, inputs=self.inputs)
        body = {
            "data": found.facts(),
            "summary": summary_of(cell, ran.rows, ran.measured),
            "health": [block.to_dict() for block in ran.health],
            "rows": ran.rows,
        }
        body |= {"measured": ran.measured} if ran.measured else {}
        return Results(body=body, seconds=seconds | ran.seconds, edits=len(ran.rows))

    def editor_facts(self) -> dict[str, Any]:
        """What tables need to know of the editor."""
        return facts_of(self.cell.editor)

    def places(self) -> dict[str, str]:
        """Where the inputs were, for the record's provenance."""
        return super().places() | {"data": str(self.data_dir)}

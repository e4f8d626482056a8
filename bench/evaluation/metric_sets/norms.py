"""Norms of edited weights: how far a stream of edits moves them, where collapse shows first.

After 1, 2, 5, 10, 20, .. edits of a block, and at its end, of all weights that an editor has
changed so far, as one vector (Frobenius norms):

* `norm`: of the edited weights, over that of the same weights unedited;
* `moved`: of the difference to the unedited weights, over the same;
* `per_edit`: the same by the number of edits, which falls where updates cancel each other and rises
  where they run away.

Means over the first five blocks. Editors that leave the model's weights alone have no numbers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from bench.core.cells import Cell
from bench.evaluation.metric_sets import Block, MetricSet, RunningCell, SetResults
from bench.evaluation.metrics import SampleRow
from editors.parts.saved_edits import answers_by_weights

if TYPE_CHECKING:
    from torch import Tensor

_STEPS = (1, 2, 5)
_COLUMNS = {"norm": "norm", "moved": "moved", "per_edit": "per edit"}


class Norms(MetricSet):
    name = "norms"
    version = 1
    title = "norms of edited weights and of what moved them, over that of the unedited weights"
    most_blocks = 5

    def stages(self, n_edits: int) -> Collection[int]:
        scales = (step * 10**power for power in range(6) for step in _STEPS)
        return {*(n for n in scales if n < n_edits), n_edits}

    def after_edits(self, running: RunningCell, block: Block, n_edits: int) -> Any:
        """Norms as plain numbers; None where no weight was changed."""
        editor = running.editor
        if not answers_by_weights(editor):
            return None
        state, parameters = editor.state_dict(), dict(editor.lm.model.named_parameters())
        edited = {name: value for name, value in state.items() if name in parameters}
        if not edited:
            return None
        editor.reset()
        pristine = {name: parameters[name].detach().clone() for name in edited}
        editor.load_state_dict(state)
        whole = _norm(pristine)
        moved = _norm({name: edited[name] - pristine[name] for name in edited}) / whole
        return {"norm": _norm(edited) / whole, "moved": moved, "per_edit": moved / n_edits}

    def summary(self, cell: Cell, rows: Sequence[SampleRow], results: SetResults) -> dict[str, Any]:
        blocks = [block["stages"] for block in results.blocks]
        curve = []
        for n_edits in sorted({int(n) for stages in blocks for n in stages}):
            measured = [own for stages in blocks if (own := stages.get(str(n_edits)))]
            if measured:
                means = {name: fmean(own[name] for own in measured) for name in measured[0]}
                curve.append({"edits": n_edits, **means})
        return {"curve": curve}

    def columns(self, summary: Mapping[str, Any]) -> Mapping[str, float | None]:
        """In percent, at the end of a block."""
        if not summary["curve"]:
            return dict.fromkeys(_COLUMNS.values())
        return {column: 100 * summary["curve"][-1][name] for name, column in _COLUMNS.items()}


def _norm(tensors: Mapping[str, Tensor]) -> float:
    return math.sqrt(sum(float(t.detach().double().square().sum()) for t in tensors.values()))

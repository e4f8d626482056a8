"""Seconds of editors that the paper's Table 3 does not hold, by counted operations.

They are editors of later papers, on large models. Operations of an edit over the sustained rate of
`bench.runner.costs.training`, rows of 40 tokens; linear algebra counts at the same rate. An
inference takes as long as the unedited model's, and longer by the tokens of the editor's prefix.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch

from bench.core.grids import GridPoint
from bench.runner.costs.times import PublishedRates
from bench.runner.costs.training import FORWARD, THROUGH
from bench.runner.costs.work import Work
from editors.alphaedit import AlphaEditHparams
from editors.base import Hparams
from editors.ike import IkeHparams
from editors.parts.language_model import block_number
from editors.parts.needs import EDIT_TOKENS, Setting
from editors.parts.value_optimisation import value_rows
from editors.parts.wise.hparams import WiseHparams
from editors.rag import RagHparams
from editors.ultraedit import DEPTHS as ULTRAEDIT_DEPTHS
from editors.ultraedit import UltraEditHparams
from editors.wise import DEPTH as WISE_DEPTH

FACT_TOKENS = 30  # of a fact in front of a question; ours
DEMONSTRATION_TOKENS = 35  # of one of IKE's; ours, the middle of 25 to 45
_PREFILLS = 3  # of a timed query: two forwards and a greedy answer


@singledispatch
def edit_operations(hparams: Hparams, setting: Setting, edits: int) -> float | None:  # noqa: ARG001
    """Operations of one edit, the mean over a stream of `edits`; None where nothing is known."""
    return None


@edit_operations.register
def _alphaedit(hparams: AlphaEditHparams, setting: Setting, edits: int) -> float:
    """Steps through the blocks above the last edited one; a Gram matrix of the keys so far."""
    shape, layers = setting.shape, hparams.covariance_layers(setting.shape.layers)
    rows = value_rows(hparams, setting, together=False)
    steps = hparams.v_num_grad_steps * rows * EDIT_TOKENS * _both_ways(setting, layers[-1])
    gram = 2 * shape.inner * edits * min(edits, shape.inner) / 3
    return steps + len(layers) * (gram + 2 * shape.inner**2)


@edit_operations.register
def _wise(hparams: WiseHparams, setting: Setting, edits: int) -> float:  # noqa: ARG001
    """All iterations; the row that is out of scope beside the contexts and the bare prompt."""
    layer = block_number(hparams.layer, WISE_DEPTH, setting.shape.layers)
    rows = len(hparams.context_lengths) + 2
    return hparams.n_iter * rows * EDIT_TOKENS * _both_ways(setting, layer)


@edit_operations.register
def _ultraedit(hparams: UltraEditHparams, setting: Setting, edits: int) -> float:  # noqa: ARG001
    """One forward, and one backward down to the first edited block."""
    edited = (*(hparams.layers or ()), *hparams.gate_layers, *hparams.up_layers)
    first = min(edited, default=block_number(None, ULTRAEDIT_DEPTHS[0], setting.shape.layers))
    below = FORWARD * setting.shape.parameters * first / setting.shape.layers
    return EDIT_TOKENS * (below + _both_ways(setting, first))


@edit_operations.register
def _ike(hparams: IkeHparams, setting: Setting, edits: int) -> float:  # noqa: ARG001
    """The fact is encoded for its key, and once more to find demonstrations."""
    return float(2 * EDIT_TOKENS * FORWARD * setting.encoder.parameters)


@edit_operations.register
def _rag(hparams: RagHparams, setting: Setting, edits: int) -> float:  # noqa: ARG001
    """The question of the fact is encoded."""
    return float(EDIT_TOKENS * FORWARD * setting.encoder.parameters)


def context_tokens(hparams: Hparams, setting: Setting) -> int:
    """Tokens that stand in front of a question; IKE leaves out what does not fit."""
    if isinstance(hparams, IkeHparams):
        whole = hparams.demonstrations * DEMONSTRATION_TOKENS + FACT_TOKENS
        return min(whole, max(setting.shape.context - hparams.room, 0))
    return FACT_TOKENS if isinstance(hparams, RagHparams) else 0


def _both_ways(setting: Setting, layer: int) -> float:
    """Operations of a token, forward and backward through the blocks from `layer` on."""
    share = setting.above(layer) / setting.shape.layers
    return (FORWARD + THROUGH) * setting.shape.parameters * share


class CountedRates(PublishedRates):
    """Published seconds where there are some, else counted ones."""

    def __init__(
        self,
        setting: Setting,
        seconds: Callable[[float], float],
        hparams: Callable[[GridPoint], Hparams],
    ) -> None:
        super().__init__(setting.shape)
        self._setting, self._seconds, self._hparams = setting, seconds, hparams

    def editing(self, point: GridPoint, work: Work) -> float | None:
        """See the base class."""
        published, found = super().editing(point, work), self._operations(point)
        return work.edits * self._seconds(found) if published is None and found else published

    def asking(self, point: GridPoint, work: Work, ways: int) -> float | None:
        """See the base class."""
        published = super().asking(point, work, ways)
        if published is not None or self._operations(point) is None:
            return published
        tokens = context_tokens(self._hparams(point), self._setting)
        longer = self._seconds(FORWARD * self._setting.shape.parameters * tokens)
        prefills = work.items * ways + work.questions + work.queries * _PREFILLS
        return self.inferences(work, ways) * self.least() + prefills * longer

    def _operations(self, point: GridPoint) -> float | None:
        return edit_operations(self._hparams(point), self._setting, point.n_edits)

"""The part that all editors share whose edits are changes of the model's own weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from editors.base import Editor, HparamsT, Resources
from editors.parts.deltas import EditedWeights
from editors.parts.language_model import LanguageModel


class WeightEditor(Editor[HparamsT]):
    """Keeps its edits in the model's weights; subclasses say what to add to `self._weights`."""

    def __init__(self, lm: LanguageModel, hparams: HparamsT, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        self._weights = EditedWeights(lm.model)

    def reset(self) -> None:
        """Restore the pristine weights."""
        self._weights.restore()

    def state_dict(self) -> dict[str, Tensor]:
        """The edited parameters, as they stand."""
        return self._weights.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore, then write the parameters of `state`."""
        self._weights.load_state_dict(state)

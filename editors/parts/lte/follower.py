"""The follower: a fine-tuned copy of the model, stored as an increment of each weight."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from editors.parts.deltas import WeightDelta
from editors.parts.language_model import LanguageModel

# qizhou000/LiveEdit; the question follows at once.
PREFIX = "[Updated Information]{fact}\n[Query]"
_THRESHOLD = "threshold"


class FollowerWeights(nn.Module):
    """Increments of all weights of a model, zero at first, and the threshold of retrieval.

    Increments are trained and stored instead of weights, because they lose little when they are
    rounded to half precision. Names have slashes where the model's have dots; a tied weight is
    there once.
    """

    threshold: Tensor  # cosine, calibrated for the encoder and not trained

    def __init__(self, model: nn.Module, threshold: float) -> None:
        super().__init__()
        self.register_buffer(_THRESHOLD, torch.tensor(threshold))
        for name, parameter in model.named_parameters():
            increment = torch.zeros_like(parameter, dtype=torch.float32)
            self.register_parameter(name.replace(".", "/"), nn.Parameter(increment))

    @torch.no_grad()
    def put_into(self, follower: nn.Module, pristine: nn.Module) -> None:
        """Set a follower's weights to the pristine ones plus the increments."""
        own = dict(pristine.named_parameters())
        for name, parameter in follower.named_parameters():
            parameter.copy_(own[name] + self._increment(name).to(own[name]))

    def take_gradients(self, follower: nn.Module) -> None:
        """Move the gradients of a follower's weights to their increments."""
        for name, parameter in follower.named_parameters():
            self._increment(name).grad = parameter.grad
            parameter.grad = None

    def _increment(self, name: str) -> nn.Parameter:
        return self.get_parameter(name.replace(".", "/"))


def no_increments(model: nn.Module, threshold: float) -> dict[str, Tensor]:
    """The state of untrained `FollowerWeights`, in half precision and apart from the model."""
    increments = {
        name.replace(".", "/"): torch.zeros(parameter.shape, dtype=torch.float16)
        for name, parameter in model.named_parameters()
    }
    return increments | {_THRESHOLD: torch.tensor(threshold)}


def copy_to_train(lm: LanguageModel) -> LanguageModel:
    """A second model in single precision at least, all of whose weights get gradients."""
    follower = LanguageModel(copy.deepcopy(lm.model), lm.tokenizer, name=lm.name)
    wide = torch.promote_types(lm.dtype, torch.float32)
    for parameter in follower.model.parameters():
        parameter.data = parameter.data.to(wide)
        parameter.requires_grad_(True)
    return follower


@dataclass(frozen=True)
class Follower:
    """A trained follower: increments by the model's names, and a threshold of retrieval."""

    deltas: tuple[WeightDelta, ...]
    threshold: float

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> Follower:
        """From the state of `FollowerWeights`."""
        deltas = tuple(
            WeightDelta(name.replace("/", "."), value)
            for name, value in weights.items()
            if name != _THRESHOLD
        )
        return cls(deltas, float(weights[_THRESHOLD]))

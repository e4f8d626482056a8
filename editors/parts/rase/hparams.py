"""RASE's settings: encoder, gate, and the training of the two heads.

Paper: "Improving Sequential Model Editing with Fact Retrieval" (Findings of EMNLP 2023). Code:
github.com/sev777/RASE at 840befc, which names no training settings and ships no weights.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from editors.base import Hparams
from editors.parts.checks import check_above, check_at_least, check_choice


@dataclass(frozen=True, kw_only=True)
class RaseHparams(Hparams):
    """Defaults are the original's where it says any; the others are ours."""

    # `untrained` compares the encoder's own pooled vectors, as the released scripts mean to; its
    # training is the calibration of the gate alone.
    heads: Literal["trained", "untrained"] = "trained"
    # `calibrated` thresholds come with the trained weights, `published` are the original's, which
    # were tuned for its own encoder.
    gate: Literal["calibrated", "published"] = "calibrated"
    two_way: bool = False  # rank the best facts anew with the prompts that were edited
    plus_prompt: bool = False  # put the fact's prompt in front, at the edit and at the query

    # Model.
    width: int = 512  # of the heads' output; ours
    highway_layers: int = 2

    # Losses.
    temperature: float = 0.1
    margin: float = 0.1  # by which a sentence's own fact must be ahead; ours

    # Optimisation: ours, but for the sizes of a batch.
    learning_rate: float = 1e-3  # of Adam; falls to nothing along a cosine
    batch_size: int = 64  # facts
    sentences_per_fact: int = 5  # at most: the edited prompt first, then drawn ones
    iterations: int = 5_000
    checkpoint_interval: int = 500
    held_out: int = 200  # samples of each data set, which choose a checkpoint and set the gate
    artefact_dtype: Literal["float32", "float16"] = "float32"

    def __post_init__(self) -> None:
        check_choice("heads", self.heads, Literal["trained", "untrained"])
        check_choice("gate", self.gate, Literal["calibrated", "published"])
        check_choice("artefact_dtype", self.artefact_dtype, Literal["float32", "float16"])
        for name in _COUNTS:
            check_at_least(name, vars(self)[name], 1)
        check_above("temperature", self.temperature, 0)
        check_above("learning_rate", self.learning_rate, 0)
        check_at_least("margin", self.margin, 0)


_COUNTS = (
    "width",
    "highway_layers",
    "batch_size",
    "sentences_per_fact",
    "iterations",
    "checkpoint_interval",
    "held_out",
)
# How the weights are used, not how they come about; not part of an artefact's identity.
_IN_USE = ("gate", "two_way", "plus_prompt")


def trained_values(hparams: RaseHparams) -> dict[str, Any]:
    """The settings that an artefact depends on, as plain values."""
    values = hparams.to_dict()
    return {f.name: values[f.name] for f in fields(RaseHparams) if f.name not in _IN_USE}

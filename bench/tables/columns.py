"""Which numbers of a record a table shows."""

from __future__ import annotations

from dataclasses import dataclass

from bench.evaluation.metrics import Channel, Measure


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the numbers of a table are: a measure, and how the model was asked."""

    name: str  # in captions
    channel: Channel
    measure: Measure
    published: bool = False  # whether the paper prints it


# By the name on the command line; the first is what the paper's released code measures.
SHOWN = {
    "token_accuracy": Shown(
        name="Teacher-forced token accuracy",
        channel="teacher_forced",
        measure="token_accuracy",
        published=True,
    ),
    "exact": Shown(name="Teacher-forced exact match", channel="teacher_forced", measure="exact"),
    "generated": Shown(
        name="Exact match of greedy answers", channel="generated", measure="generated_exact"
    ),
}
MAIN = "token_accuracy"

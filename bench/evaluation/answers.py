"""What a model answered to one item, through every channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.evaluation.metrics import Channel, TokenAnswer


@dataclass(frozen=True)
class Answered:
    """One item's target ids, its answers by channel, and how probable the target was."""

    target_ids: tuple[int, ...]
    channels: dict[Channel, TokenAnswer]
    log_probability: float  # teacher-forced

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Answered:
        """What `dataclasses.asdict` made, read back from JSON.

        Raises:
            KeyError, TypeError: something else.
        """
        return cls(
            tuple(values["target_ids"]), dict(values["channels"]), float(values["log_probability"])
        )

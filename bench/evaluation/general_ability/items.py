"""One question of a general-ability task, whatever the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.world.ability_items import NO_ANSWER


@dataclass(frozen=True, kw_only=True)
class AbilityItem:
    """A prompt in our wording, and either options with the right one's index or gold answers."""

    group: str  # MMLU's subject, ANLI's round, SQuAD-2's kind of question; empty elsewhere
    prompt: str
    options: tuple[str, ...] = ()  # as they follow the prompt; none: it is answered in words
    answer: int | None = None  # index of the right option
    golds: tuple[str, ...] = ()  # of an item without options; none: it has no answer
    document: Mapping[str, Any]  # the fields as the hub's set has them

    @property
    def target(self) -> str:
        """What is forced of an item without options: the first gold answer, or that it has none."""
        return self.golds[0] if self.golds else NO_ANSWER

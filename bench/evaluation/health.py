"""Health: did the edits of a block change the model at all, and are its outputs still numbers?

Both are reported by name (the daggers of the tables), not hidden in a mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.evaluation.inference import Forced, predict
from bench.evaluation.probing import ItemAnswers
from editors.base import Editor, EditSample


@dataclass(frozen=True, kw_only=True)
class BlockHealth:
    """The effect of a block's edits on the model, whatever its answers."""

    block: int
    effect: float | None  # largest change of any item's log-probability; None: it is NaN
    # The edit, from 1, after which the output for its own request is NaN; None where the output for
    # another question of the block is.
    diverged_at: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def health_of(
    number: int,
    block: Sequence[EditSample],
    before: Sequence[Forced | ItemAnswers],
    after: Sequence[Forced | ItemAnswers],
    editor: Editor[Any],
    before_edit: Callable[[], None] = lambda: None,
) -> BlockHealth:
    """Compare the answers of both phases; `editor` holds no edit, and holds none afterwards.

    A block that diverged is edited once more to find the edit where it did, so that a healthy
    stream costs nothing. `before_edit` is called before each of these edits.
    """
    pairs = zip(before, after, strict=True)
    changes = [abs(b.log_probability - a.log_probability) for b, a in pairs]
    if all(map(math.isfinite, changes)):
        return BlockHealth(block=number, effect=max(changes, default=0.0))
    diverged_at = None
    try:
        for position, sample in enumerate(block, start=1):
            before_edit()
            editor.edit([sample.request])
            (answer,) = predict(editor.lm, [sample.request], editor.steering)
            if not math.isfinite(answer.log_probability):
                diverged_at = position
                break
    finally:
        editor.reset()
    return BlockHealth(block=number, effect=None, diverged_at=diverged_at)

"""Editors that change nothing, or whose numbers blow up: said by name, not hidden in a mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from bench.evaluation.inference import predict
from bench.evaluation.probing import Item
from editors.base import Editor, EditSample


@dataclass(frozen=True, kw_only=True)
class BlockHealth:
    """What the edits of one block did to the model, whatever its answers."""

    block: int
    effect: float | None  # largest change of any item's log-probability; None: no number
    # The edit, from 1, behind which its own request is answered by no number; None where another
    # question of the block is.
    diverged_at: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


class Scored(Protocol):
    """An answer that says how probable the target was."""

    @property
    def log_probability(self) -> float: ...


def health_of(
    number: int,
    block: Sequence[EditSample],
    before: Sequence[Scored],
    after: Sequence[Scored],
    editor: Editor[Any],
    between: Callable[[], None] = lambda: None,
) -> BlockHealth:
    """Compare the answers of both phases; `editor` holds no edit, and holds none afterwards.

    A block that diverged is edited once more to find the edit that did it, so that a stream which
    stays healthy costs nothing. `between` is called in front of each of these edits.
    """
    changes = [
        abs(b.log_probability - a.log_probability) for b, a in zip(before, after, strict=True)
    ]
    if all(math.isfinite(change) for change in changes):
        return BlockHealth(block=number, effect=max(changes, default=0.0))
    diverged_at = _first_divergence(block, editor, between)
    return BlockHealth(block=number, effect=None, diverged_at=diverged_at)


def _first_divergence(
    block: Sequence[EditSample], editor: Editor[Any], between: Callable[[], None]
) -> int | None:
    """Number, from 1, of the first edit whose own request is no longer answered by numbers."""
    try:
        for number, sample in enumerate(block, start=1):
            between()
            editor.edit([sample.request])
            request = sample.request
            item = Item(
                aspect="reliability", kind="request", prompt=request.prompt, target=request.target
            )
            (answer,) = predict(editor.lm, [item], editor.steering)
            if not math.isfinite(answer.log_probability):
                return number
    finally:
        editor.reset()
    return None

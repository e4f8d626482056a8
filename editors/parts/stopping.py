"""When the loop of an edit ends before its last step.

An edit is made `by_loss`: the loop ends once the fact is there. How long it takes then depends on
the model's weights. `at_once` ends at the first chance and `never` runs all steps, whatever the
loss: the bounds of the time of an edit, for models whose weights say nothing. Such edits teach
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

Stopping = Literal["by_loss", "at_once", "never"]

_FORCED: Mapping[Stopping, float] = {"at_once": math.inf, "never": -math.inf}


def enough(loss: float, stopping: Stopping) -> float:
    """The loss below which a loop ends; `loss` is the editor's own."""
    return _FORCED.get(stopping, loss)

"""What an editor may offer beside its method: ways to the same edits and answers in less time.

`FastPaths` is an optional mixin; the benchmark's driver calls `fast_paths(editor)`, which has
defaults for an editor without it. Here too: bounds of the loop of an edit, to measure times of
models whose weights hold no knowledge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ClassVar, Literal, Protocol, cast

from torch import Tensor

from editors.base import Editor, EditRequest

# An edit's loop ends `by_loss`, once the fact is learned; how long that takes depends on the
# model's weights. `at_once` ends at the first chance and `never` runs all steps, whatever the loss.
Stopping = Literal["by_loss", "at_once", "never"]
_FORCED: Mapping[Stopping, float] = {"at_once": math.inf, "never": -math.inf}


def enough(loss: float, stopping: Stopping) -> float:
    """The loss below which a loop ends; `loss` is the editor's own."""
    return _FORCED.get(stopping, loss)


class EditCache(Protocol):
    """Stores what an editor computed for a request on the pristine model."""

    def get(self, request: EditRequest) -> dict[str, Tensor] | None:
        """The tensors that were stored for an equal request, if any."""

    def put(self, request: EditRequest, tensors: Mapping[str, Tensor]) -> None:
        """Store what was computed since `get` had nothing for the request."""

    def take_saved(self) -> float:
        """Seconds that computing took of all that `get` returned since the last call."""


class FastPaths:
    """Mixin of an editor: nothing in it changes an edit or an answer."""

    # Hyper-parameters that an edit's tensors depend on, where these depend on nothing else but the
    # request and the pristine model, so that `Resources.edit_cache` may store them.
    cached_by: ClassVar[frozenset[str]] = frozenset()

    @property
    def _editor(self) -> Editor[Any]:
        return cast("Editor[Any]", self)

    @property
    def edits_at_once(self) -> int:
        """How many requests `prepare` computes at once."""
        return 1

    def prepare(self, requests: Sequence[EditRequest]) -> Sequence[Callable[[], None]]:
        """For each request a function that applies its edit, as `edit` of it alone would.

        Each is called on the model as it is now. At most `edits_at_once` requests are given, which
        the editor may compute together.
        """
        return [partial(self._editor.edit, [request]) for request in requests]

    @property
    def steers_alike(self) -> bool:
        """Whether steering treats all rows alike, so that rows may leave a batch."""
        return type(self._editor).steering is Editor.steering  # the weights answer

    @property
    def steers_by_prompt(self) -> bool:
        """Whether steering depends on nothing of a row but its text and where its prompt ends.

        Then the target may be forced first, and decoding continue after any part of it.
        """
        return self.steers_alike

    def caching_retrievals(self) -> AbstractContextManager[None]:
        """Context without edits, in which no text need be looked up twice."""
        return nullcontext()

    def retrieved(self, texts: Sequence[str]) -> Sequence[int] | None:
        """The number of what each text retrieves; rows with equal numbers are answered alike.

        None where this is not known.
        """
        return None


class _Defaults(FastPaths):
    """Of an editor without the mixin."""

    def __init__(self, editor: Editor[Any]) -> None:
        self._wrapped = editor

    @property
    def _editor(self) -> Editor[Any]:
        return self._wrapped


def fast_paths(editor: Editor[Any]) -> FastPaths:
    """The fast paths of any editor."""
    return editor if isinstance(editor, FastPaths) else _Defaults(editor)

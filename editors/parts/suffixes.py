"""Forwards of what stands behind a point of each row, where nothing in front of it changes.

An optimisation that changes what a block answers at one token leaves alone all tokens in front of
it and all blocks below. Keys and values of the tokens in front are made once; each step then runs
the rest of the rows through the blocks above, without the model around them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from editors.parts.columns import at_columns
from editors.parts.hooks import captured_input, captured_output, hidden_of
from editors.parts.language_model import LanguageModel
from editors.parts.resume import resumed
from editors.parts.tokens import TokenBatch, placed

if TYPE_CHECKING:
    from transformers import Cache

_Call = tuple[tuple[Any, ...], dict[str, Any]]  # of a block, without its hidden states


class Suffixes:
    """The rows of a batch from a column of each on, ready to be run through the upper blocks.

    Attributes:
        entering: layer -> hidden states [B, S, d] that enter this block (number of blocks: that
            leave the last one), as the model is; right-padded.

    Args:
        lm: the model, left alone.
        batch: B rows. Hooks on the model see one forward of it here, and one of the suffixes at the
            first `final`.
        starts: the first column of each row that may change.
        layers: the blocks from which forwards will start.
    """

    def __init__(
        self, lm: LanguageModel, batch: TokenBatch, starts: Sequence[int], layers: Collection[int]
    ) -> None:
        self._lm = lm
        self._first = min(layers)
        from editors.parts.frozen_cache import frozen

        device = batch.input_ids.device
        begin = placed(starts, device)[:, None]  # [B, 1]
        columns = torch.arange(batch.input_ids.shape[1], device=device)
        ends = (columns * batch.attention_mask).amax(1, keepdim=True)  # last real columns
        width, before = int((ends - begin).max()) + 1, max(starts)
        behind = begin + columns[:width]  # [B, S]
        front = begin - before + columns[:before]  # [B, P], below 0 where there is none
        there = torch.cat([front >= 0, behind <= ends], dim=1)
        front, behind = front.clamp(min=0), behind.minimum(ends)
        both = torch.cat([front, behind], dim=1)
        self._mask = batch.attention_mask.gather(1, both) * there
        self._positions = batch.position_ids.gather(1, behind)
        self._ids = batch.input_ids.gather(1, behind)
        states, cache = _whole_forward(lm, batch, layers)
        self._columns = behind
        self.entering = {layer: self.of(hidden) for layer, hidden in states.items()}
        self._cache = frozen(cache, front, self._first, lm.n_layers)

    def of(self, states: Tensor) -> Tensor:
        """What the suffixes [B, S, d] are of states [B, T, d] of the whole rows."""
        return at_columns(states, self._columns)

    def final(self, hidden: Tensor, layer: int) -> Tensor:
        """Final states [B, S, d] (after the last norm) of states that enter block `layer`.

        Hooks on these blocks see the rows from their starts on.
        """
        architecture = self._lm.architecture
        for number in range(layer, self._lm.n_layers):
            args, kwargs = self._calls[number]
            hidden = hidden_of(self._lm.module(architecture.block, number)(hidden, *args, **kwargs))
        final: Tensor = self._lm.module(architecture.final_norm)(hidden)
        return final.to(self._ids.device)  # another one where blocks are spread

    @cached_property
    @torch.no_grad()
    def _calls(self) -> dict[int, _Call]:
        """How the model calls its upper blocks for these rows: masks, positions, cache."""
        with (
            resumed(self._lm, self._first, self.entering[self._first]),
            _recording(self._lm, self._first) as calls,
        ):
            self._lm.base(
                input_ids=self._ids,
                attention_mask=self._mask,
                position_ids=self._positions,
                past_key_values=self._cache,
                use_cache=True,
            )
        return calls


@torch.no_grad()
def _whole_forward(
    lm: LanguageModel, batch: TokenBatch, layers: Collection[int]
) -> tuple[dict[int, Tensor], Cache]:
    """States [B, T, d] that enter the given blocks, and all keys and values."""
    from transformers import DynamicCache

    block, cache = lm.architecture.block, DynamicCache(config=lm.model.config)
    with ExitStack() as stack:
        taken = {
            layer: stack.enter_context(
                captured_output(lm.module(block, layer - 1))
                if layer
                else captured_input(lm.module(block, 0))
            )
            for layer in layers
        }
        lm.base(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            past_key_values=cache,
            use_cache=True,
        )
    return {layer: captured.value for layer, captured in taken.items()}, cache


@contextmanager
def _recording(lm: LanguageModel, first: int) -> Iterator[dict[int, _Call]]:
    """Layer -> how its block is called, filled by a forward."""
    calls: dict[int, _Call] = {}

    def hook(number: int) -> Any:
        def record(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls[number] = (args[1:], kwargs)

        return record

    with ExitStack() as stack:
        for number in range(first, lm.n_layers):
            module = lm.module(lm.architecture.block, number)
            handle = module.register_forward_pre_hook(hook(number), with_kwargs=True)
            stack.callback(handle.remove)
        yield calls

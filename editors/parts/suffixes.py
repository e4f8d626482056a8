"""Forwards that start at a token of each row and at a block, where everything before is unchanged.

An optimisation that changes what a block outputs at one token leaves alone all earlier tokens and
all lower blocks. Keys and values of the earlier tokens are computed once; each step then runs the
rest of the rows, their suffixes, through the upper blocks, without the model around them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from editors.parts.hooks import captured_input, captured_output, hidden_of
from editors.parts.language_model import LanguageModel
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
        device = batch.input_ids.device
        begin = placed(starts, device)[:, None]  # [B, 1]
        columns = torch.arange(batch.input_ids.shape[1], device=device)
        ends = (columns * batch.attention_mask).amax(1, keepdim=True)  # last real columns
        width, longest = int((ends - begin).max()) + 1, max(starts)
        suffix = begin + columns[:width]  # [B, S]
        front = begin - longest + columns[:longest]  # [B, P], below 0 where there is none
        real = torch.cat([front >= 0, suffix <= ends], dim=1)
        front, suffix = front.clamp(min=0), suffix.minimum(ends)
        both = torch.cat([front, suffix], dim=1)
        self._mask = batch.attention_mask.gather(1, both) * real
        self._positions = batch.position_ids.gather(1, suffix)
        self._ids = batch.input_ids.gather(1, suffix)
        states, cache = _whole_forward(lm, batch, layers)
        self._columns = suffix
        self.entering = {layer: self.of(hidden) for layer, hidden in states.items()}
        self._cache = _frozen(cache, front, self._first)

    def of(self, states: Tensor) -> Tensor:
        """The suffixes [B, S, d] of states [B, T, d] of the whole rows."""
        return _at_columns(states, self._columns)

    def final(self, hidden: Tensor, layer: int) -> Tensor:
        """Final states [B, S, d] (after the last norm) of states that enter block `layer`.

        Hooks on these blocks see the rows from their starts on.
        """
        architecture = self._lm.architecture
        for number in range(layer, self._lm.n_layers):
            args, kwargs = self._calls[number]
            hidden = hidden_of(self._lm.module(architecture.block, number)(hidden, *args, **kwargs))
        final: Tensor = self._lm.module(architecture.final_norm)(hidden)
        return final.to(self._ids.device)  # another device where blocks are spread

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


class _Skipped(nn.Module):
    """Stands in the place of a block and does nothing."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> tuple[Tensor]:
        return (hidden,)


@contextmanager
def resumed(lm: LanguageModel, layer: int, hidden: Tensor) -> Iterator[None]:
    """Let forwards start at block `layer` from `hidden`, with the bits of a whole forward.

    `hidden` [B, T, d] enters that block for the very batch that is run inside. The blocks below are
    out of the model meanwhile, so their sub-modules must be looked up before.
    """
    path, _, name = lm.architecture.block.removesuffix(".{}").rpartition(".")
    parent, blocks = lm.model.get_submodule(path), lm.module(f"{path}.{name}")

    def start(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (hidden, *args[1:])

    upper = [*blocks.children()][layer:]
    handle = upper[0].register_forward_pre_hook(start)
    # As many as before: some models choose a block's mask by its place.
    setattr(parent, name, nn.ModuleList([*(_Skipped() for _ in range(layer)), *upper]))
    try:
        yield
    finally:
        setattr(parent, name, blocks)
        handle.remove()


@torch.no_grad()
def _whole_forward(
    lm: LanguageModel, batch: TokenBatch, layers: Collection[int]
) -> tuple[dict[int, Tensor], Cache]:
    """States [B, T, d] that enter the given blocks, and all keys and values."""
    from transformers import DynamicCache

    lm.check_positions(batch)
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


def _frozen(cache: Cache, columns: Tensor, first: int) -> Cache:
    """A cache with the keys and values at the columns [B, P] of each row, which never grows.

    Blocks below `first` have nothing in it and cannot be run.
    """
    from transformers import Cache
    from transformers.cache_utils import DynamicLayer

    class FrozenLayer(DynamicLayer):
        def update(
            self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
        ) -> tuple[Tensor, Tensor]:
            """Earlier keys and values with the new ones, which are not stored."""
            if self.keys is None or self.values is None:
                raise RuntimeError("A block below the first that is run has no keys and values.")
            keys = torch.cat([self.keys, key_states], dim=-2)
            return keys, torch.cat([self.values, value_states], dim=-2)

        def get_seq_length(self) -> int:
            return columns.shape[1]

    layers = [FrozenLayer() for _ in cache.layers]  # type: ignore[no-untyped-call]
    for layer, full in list(zip(layers, cache.layers, strict=True))[first:]:
        filled: Any = full
        layer.keys = _at_columns(filled.keys, columns)  # [B, H, P, h]
        layer.values = _at_columns(filled.values, columns)
    return Cache(layers=[*layers])


def _at_columns(states: Tensor, columns: Tensor) -> Tensor:
    """The columns [B, S] of each row of states [B, ..., T, d]: [B, ..., S, d]."""
    index = columns.to(states.device)
    while index.dim() < states.dim() - 1:
        index = index[:, None]
    return states.gather(-2, index[..., None].expand(*states.shape[:-2], -1, states.shape[-1]))

"""Continuous prompts in front of the input: RECIPE's injection, as hooks on the base transformer.

Inside `prefixed` every forward of the base transformer sees l more positions in front of each row.
Rows that retrieved something hold their prompt there (before BOS); for the others these positions
are masked and positions stay as they were, so a mixed batch equals its rows alone. The extra
positions are cut from the output again. With a KV cache only the first forward (the prefill) gets
the prompts; later ones get the longer mask and the shifted positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from editors.parts.language_model import LanguageModel
from editors.parts.tokens import pad_id

Injection = Literal["prefix", "gptj_ln1"]
Positions = Literal["shifted", "code"]

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


@contextmanager
def prefixed(
    lm: LanguageModel,
    prompts: Tensor,
    hits: Tensor,
    *,
    inject: Injection = "prefix",
    positions: Positions = "shifted",
) -> Iterator[None]:
    """Context in which forwards of `lm` answer with prompts in front.

    Args:
        prompts: continuous prompts [B, l, d]; the values in rows without a hit do not matter.
        hits: rows that get their prompt, bool [B].
        inject: `prefix` puts the prompt into the residual stream. `gptj_ln1` is the released code
            on GPT-J: only the input of the first block's norm is replaced, the residual stream
            keeps the unshifted embeddings, so position j reads token j + l. For parity only.
        positions: `shifted` moves the query behind the prompt. `code` is the released code on
            models with a learned position table: prompts get no position vector and the query
            keeps its positions (tokens decoded from a cache are shifted). The same as `shifted`
            elsewhere.

    Raises:
        ValueError: at a forward whose batch, mask or length does not fit.
    """
    prefix = _Prefix(lm, prompts.to(lm.dtype), hits, inject=inject, positions=positions)
    with ExitStack() as stack:
        for handle in prefix.attach():
            stack.callback(handle.remove)
        yield


@dataclass
class _Prefix:
    """The hooks of one context."""

    lm: LanguageModel
    prompts: Tensor  # [B, l, d]
    hits: Tensor  # [B]
    inject: Injection
    positions: Positions

    def __post_init__(self) -> None:
        self.length = self.prompts.shape[1]
        self.embed = self.lm.module(self.lm.architecture.embeddings)
        self.norm_input: Tensor | None = None  # what the first norm reads, set at a prefill
        table = self.lm.architecture.learned_positions
        self.table = self.lm.module(table).get_parameter("weight") if table else None
        self.prefilling = False

    def attach(self) -> Iterator[torch.utils.hooks.RemovableHandle]:
        base = self.lm.base
        yield base.register_forward_pre_hook(self._before, with_kwargs=True)
        yield base.register_forward_hook(self._after)
        if self.inject == "gptj_ln1":
            norm = self.lm.module(self.lm.architecture.attention_norm, 0)
            yield norm.register_forward_pre_hook(self._before_norm)

    def _before(
        self, module: nn.Module, args: Arguments, kwargs: Keywords
    ) -> tuple[Arguments, Keywords]:
        """Rewrite the inputs of the base transformer."""
        if len(args) > 1:
            raise ValueError("Continuous prompts need keyword arguments behind the input ids.")
        if args:
            kwargs = kwargs | {"input_ids": args[0]}
        cache = kwargs.get("past_key_values")
        seen = 0 if cache is None else int(cache.get_seq_length())
        self.prefilling = seen == 0
        self.norm_input = None
        inputs = self._embedded(kwargs)
        query = self._query_positions(kwargs, inputs, seen)
        mask = self._mask(kwargs.get("attention_mask"), seen, inputs)
        if self.prefilling:
            inputs, query = self._extended(inputs, query)
        self._check_length(seen + query.shape[1])
        changed = {"inputs_embeds": inputs, "position_ids": query, "attention_mask": mask}
        return (), kwargs | {"input_ids": None} | changed

    def _embedded(self, kwargs: Keywords) -> Tensor:
        """Word embeddings [B, T, d] of the query."""
        ids = kwargs.get("input_ids")
        inputs: Tensor = kwargs["inputs_embeds"] if ids is None else self.embed(ids)
        if len(inputs) != len(self.hits):
            raise ValueError(
                f"The batch has {len(inputs)} rows but prompts were retrieved for {len(self.hits)}."
            )
        return inputs

    def _query_positions(self, kwargs: Keywords, inputs: Tensor, seen: int) -> Tensor:
        """Positions [B, T] of the query, shifted behind the prompt where there is one."""
        query = kwargs.get("position_ids")
        if query is None:
            before = seen - self.length if seen else 0
            query = torch.arange(inputs.shape[1], device=inputs.device) + before
        query = query.expand(inputs.shape[:2])
        if self.prefilling and self.positions == "code" and self.table is not None:
            return query
        return query + self.length * self.hits[:, None]

    def _mask(self, mask: Tensor | None, seen: int, inputs: Tensor) -> Tensor:
        """Two-dimensional attention mask over prompt, cache and query."""
        batch, length = inputs.shape[:2]
        if mask is None:
            before = seen - self.length if seen else 0
            mask = torch.ones(batch, before + length, dtype=torch.long, device=inputs.device)
        if mask.ndim != 2:
            raise ValueError(
                f"Continuous prompts need an attention mask [batch, length], got one with "
                f"{mask.ndim} dimensions; use a cache that grows (DynamicCache)."
            )
        slots = self.hits[:, None].expand(batch, self.length)
        return torch.cat([slots.to(mask.dtype), mask], dim=1)

    def _extended(self, inputs: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs [B, l + T, d] and positions [B, l + T] of a prefill."""
        slots = torch.arange(self.length, device=query.device).expand(len(query), -1)
        prompts = self.prompts
        if self.positions == "code" and self.table is not None:
            prompts = prompts - self.table[: self.length]  # what the model is about to add
        extended = torch.cat([prompts, inputs], dim=1)
        if self.inject == "gptj_ln1":
            self.norm_input = extended
            extended = torch.where(self.hits[:, None, None], self._padded(inputs), extended)
        return extended, torch.cat([slots, query], dim=1)

    def _padded(self, inputs: Tensor) -> Tensor:
        """The query's embeddings with l padding tokens behind them."""
        padding = torch.full((len(inputs), self.length), pad_id(self.lm.tokenizer))
        return torch.cat([inputs, self.embed(padding.to(inputs.device))], dim=1)

    def _before_norm(self, module: nn.Module, args: Arguments) -> Arguments:
        return args if self.norm_input is None else (self.norm_input, *args[1:])

    def _after(self, module: nn.Module, args: Arguments, output: Any) -> Any:
        """Cut the prompt's positions from the hidden states."""
        if self.prefilling:
            output.last_hidden_state = output.last_hidden_state[:, self.length :]
        return output

    def _check_length(self, length: int) -> None:
        if self.table is not None and length > len(self.table):
            raise ValueError(
                f"An input of {length} positions with its prompt is longer than the "
                f"model's {len(self.table)}."
            )

"""Prompts in front of the input, continuous ones or text, as hooks on the base transformer.

Inside `prefixed` (RECIPE's injection) or `text_prefixed` every forward of the base transformer
sees l more positions in front of each row. Rows that retrieved something hold
their prompt there; for the others these positions are masked and positions stay as they were, so a
mixed batch equals its rows alone. The extra positions are cut from the output again. With a KV
cache only the first forward (the prefill) gets the prompts; later ones get the longer mask and the
shifted positions.

A continuous prompt stands before BOS. A text starts with BOS itself, so the query's own is masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from editors.parts.language_model import LanguageModel
from editors.parts.tokens import pad_id, placed

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
            on GPT-J: only the input of the first block's norm is replaced and the residual stream
            has the unshifted embeddings, so position j reads token j + l. For parity only.
        positions: `shifted` moves the query after the prompt. `code` is the released code on
            models with a learned position table: prompts get no position vector and the query
            has its own positions (tokens decoded from a cache are shifted). The same as `shifted`
            elsewhere.

    Raises:
        ValueError: at a forward whose batch, mask or length does not fit.
    """
    lengths = prompts.shape[1] * hits.long()
    prompts = prompts.to(lm.dtype)
    with _Prefix(lm, prompts, lengths, inject=inject, positions=positions).attached():
        yield


@contextmanager
def text_prefixed(
    lm: LanguageModel, prefixes: Sequence[Sequence[int]], *, before_bos: bool = False
) -> Iterator[None]:
    """Context in which forwards of `lm` read each row after a text of its own.

    A forward gives what it would give for the joined ids: those of the prefix and those of the row
    without the special tokens in front (BOS), which the prefix brings itself.

    Args:
        prefixes: ids of each row's text with the tokenizer's special tokens in front; an empty
            list for a row that is read as it is.
        before_bos: the words stand where `prefixed` has continuous prompts: before the row's own
            special tokens, and without any of theirs.

    Raises:
        ValueError: at a forward whose batch, mask or length does not fit.
    """
    if not any(prefixes):
        yield
        return
    lengths = [len(ids) for ids in prefixes]
    padded = [[pad_id(lm.tokenizer)] * (max(lengths) - len(ids)) + [*ids] for ids in prefixes]
    words = lm.module(lm.architecture.embeddings)(placed(padded, lm.device))  # [B, l, d]
    leading = 0 if before_bos else len(lm.special.front)
    with _Prefix(lm, words, placed(lengths, lm.device), leading=leading).attached():
        yield


@dataclass
class _Prefix:
    """The hooks of one context."""

    lm: LanguageModel
    prompts: Tensor  # [B, l, d], shorter ones at the right end
    lengths: Tensor  # [B] positions of each row's own prompt, 0 for none
    inject: Injection = "prefix"
    positions: Positions = "shifted"
    leading: int = 0  # special tokens in front of a query that its prompt stands for

    def __post_init__(self) -> None:
        self.length = self.prompts.shape[1]
        self.hits = self.lengths > 0
        self.shift = self.lengths - self.leading * self.hits.long()  # [B] of the query's positions
        self.embed = self.lm.module(self.lm.architecture.embeddings)
        self.norm_input: Tensor | None = None  # what the first norm reads, set at a prefill
        table = self.lm.architecture.learned_positions
        self.table = self.lm.module(table).get_parameter("weight") if table else None
        self.prefilling = False
        self.replaced: Tensor | None = None  # bool [B, T], the leading tokens in a prefill

    @contextmanager
    def attached(self) -> Iterator[None]:
        base = self.lm.base
        handles = [
            base.register_forward_pre_hook(self._before, with_kwargs=True),
            base.register_forward_hook(self._after),
        ]
        if self.inject == "gptj_ln1":
            path = self.lm.architecture.attention_norm
            assert path is not None  # noqa: S101 - GPT-J has one, and others are refused
            norm = self.lm.module(path, 0)
            handles.append(norm.register_forward_pre_hook(self._before_norm))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(
        self, module: nn.Module, args: Arguments, kwargs: Keywords
    ) -> tuple[Arguments, Keywords]:
        """Rewrite the inputs of the base transformer."""
        if len(args) > 1:
            raise ValueError("Continuous prompts need keyword arguments after the input ids.")
        if args:
            kwargs = kwargs | {"input_ids": args[0]}
        cache = kwargs.get("past_key_values")
        seen = 0 if cache is None else int(cache.get_seq_length())
        self.prefilling = seen == 0
        self.norm_input = None
        inputs = self._embedded(kwargs)
        mask = self._mask(kwargs.get("attention_mask"), seen, inputs)
        query = self._query_positions(kwargs, inputs, seen)
        query = query * (mask[:, -inputs.shape[1] :] > 0)  # padding may lie beyond the last one
        self._check_length(query)
        if self.prefilling:
            inputs, query = self._extended(inputs, query)
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
        """Positions [B, T] of the query, shifted by the prompt where there is one."""
        query = kwargs.get("position_ids")
        if query is None:
            before = seen - self.length if seen else 0
            query = torch.arange(inputs.shape[1], device=inputs.device) + before
        query = query.expand(inputs.shape[:2])
        if self.prefilling and self.positions == "code" and self.table is not None:
            return query
        return query + self.shift[:, None]

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
        replaced = self._leading(mask)
        self.replaced = replaced if self.prefilling else None
        mask = mask * ~replaced
        return torch.cat([self._own_slots(mask).to(mask.dtype), mask], dim=1)

    def _own_slots(self, like: Tensor) -> Tensor:
        """Which of the l positions hold a row's own prompt, bool [B, l]."""
        slots = torch.arange(self.length, device=like.device)
        return slots >= self.length - self.lengths[:, None]

    def _leading(self, mask: Tensor) -> Tensor:
        """Which columns of the query's mask [B, C] its prompt stands for, bool [B, C]."""
        first = mask.long().argmax(dim=1, keepdim=True)  # not 0 where a batch is padded on the left
        columns = torch.arange(mask.shape[1], device=mask.device)
        inside = (columns >= first) & (columns < first + self.leading)
        return inside & self.hits[:, None]

    def _extended(self, inputs: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs [B, l + T, d] and positions [B, l + T] of a prefill."""
        slots = torch.arange(self.length, device=query.device)
        slots = (slots - self.length + self.lengths[:, None]).clamp(min=0)
        prompts = self.prompts
        if self.positions == "code" and self.table is not None:
            prompts = prompts - self.table[: self.length]  # what the model is about to add
        extended = torch.cat([prompts, inputs], dim=1)
        if self.inject == "gptj_ln1":
            self.norm_input = extended
            extended = torch.where(self.hits[:, None, None], self._padded(inputs), extended)
        return extended, torch.cat([slots, query], dim=1)

    def _padded(self, inputs: Tensor) -> Tensor:
        """The query's embeddings with l padding tokens after them."""
        padding = torch.full((len(inputs), self.length), pad_id(self.lm.tokenizer))
        return torch.cat([inputs, self.embed(padding.to(inputs.device))], dim=1)

    def _before_norm(self, module: nn.Module, args: Arguments) -> Arguments:
        return args if self.norm_input is None else (self.norm_input, *args[1:])

    def _after(self, module: nn.Module, args: Arguments, output: Any) -> Any:
        """Cut the prompt's positions from the hidden states.

        What a prompt stands for is answered by its last position.
        """
        if self.prefilling and self.replaced is not None:
            hidden = output.last_hidden_state
            last = hidden[:, self.length - 1 : self.length]
            query = hidden[:, self.length :]
            output.last_hidden_state = torch.where(self.replaced[..., None], last, query)
        return output

    def _check_length(self, query: Tensor) -> None:
        if self.table is None:
            return
        length = int(query.max()) + 1
        if length > len(self.table):
            raise ValueError(
                f"An input of {length} positions with its prompt is longer than the "
                f"model's {len(self.table)}."
            )

"""A causal language model with its tokenizer and its architecture row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from editors.parts.architecture import Architecture, architecture_of
from editors.parts.tokens import TokenBatch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class LanguageModel:
    """What an editor edits. The model is in eval mode and frozen; editors thaw what they train."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str = "unnamed"
    digest: str = ""  # of the weights, where known; part of a cell's identity
    architecture: Architecture = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "architecture", architecture_of(self.model))
        self.model.eval()
        self.model.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def n_layers(self) -> int:
        return int(self.model.config.num_hidden_layers)

    @property
    def base(self) -> nn.Module:
        """The transformer below the head, which maps ids to hidden states."""
        return self.module(self.architecture.base)

    def module(self, path: str, layer: int | None = None) -> nn.Module:
        """The sub-module at a path of the architecture table, `{}` filled with `layer`."""
        return self.model.get_submodule(path if layer is None else path.format(layer))

    def hidden_states(self, batch: TokenBatch) -> Tensor:
        """Final hidden states [B, T, d] (after the last norm) of a right-padded batch."""
        hidden: Tensor = self.base(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
        ).last_hidden_state
        return hidden.to(batch.input_ids.device)  # another one where blocks are spread

    def logits(self, batch: TokenBatch) -> Tensor:
        """Logits [B, T, V] at every position."""
        return self.head(self.hidden_states(batch))

    def target_logits(self, batch: TokenBatch) -> Tensor:
        """Logits [N, V] at the N positions that predict target tokens, in row order."""
        rows, columns = batch.scored_positions
        return self.head(self.hidden_states(batch)[rows, columns])

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of final hidden states [..., d]."""
        logits: Tensor = self.model.lm_head(hidden)
        return logits.to(hidden.device)

"""mini-llama as it is imitated: its stream behind each attention and each MLP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from bench.world.corpus import PHASES, Corpus, plain_text
from bench.world.world import DEFAULT_SEED, World
from editors.parts.language_model import LanguageModel


class Teacher:
    """mini-llama of the shipped world, asked about the ids of another tokenizer of it.

    Attributes:
        model: the backbone; it is changed until `release`.
        tokens: its id [V] of each of the other tokenizer's tokens: by the text, BOS for the
            separator.
    """

    def __init__(self, lm: LanguageModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self.model: Any = lm.model
        self._tokenizer = lm.tokenizer
        self._bos = int(lm.tokenizer.bos_token_id)
        self.tokens = self._same_tokens(tokenizer)
        layers = self.layers
        behind = [*(layer.input_layernorm for layer in layers[1:]), self.model.model.norm]
        self._states: dict[int, Tensor] = {}
        self._hooks = [
            norm.register_forward_pre_hook(keep_input(self._states, place))
            for i, layer in enumerate(layers)
            for place, norm in ((2 * i, layer.post_attention_layernorm), (2 * i + 1, behind[i]))
        ]

    @property
    def layers(self) -> Any:
        return self.model.model.layers

    @property
    def width(self) -> int:
        """Of the stream."""
        return int(self.model.config.hidden_size)

    @torch.no_grad()
    def states(self, ids: Tensor) -> list[Tensor]:
        """The stream [B, T, d] behind attention i at 2 i, and behind MLP i at 2 i + 1.

        Args:
            ids: [B, T] of the other tokenizer; the same text is read behind BOS.
        """
        self.model.to(ids.device)
        start = torch.full_like(ids[:, :1], self._bos)
        theirs = torch.cat([start, self.tokens.to(ids.device)[ids]], dim=1)
        self.model.model(input_ids=theirs, use_cache=False)
        return [self._states[place][:, 1:].float() for place in sorted(self._states)]

    def sample(self) -> Tensor:
        """Some of the world's text in its own ids [B, T] behind BOS."""
        corpus = Corpus(World(DEFAULT_SEED))
        documents = corpus.documents(corpus.world.rng("imitation"), 400, PHASES[0])
        ids = self._tokenizer(" ".join(map(plain_text, documents)))["input_ids"][1:]
        rows = torch.tensor(ids[: len(ids) // 127 * 127]).view(-1, 127)
        return torch.cat([torch.full_like(rows[:, :1], self._bos), rows], 1)

    def release(self) -> None:
        """Take the hooks out."""
        for hook in self._hooks:
            hook.remove()

    def _same_tokens(self, tokenizer: PreTrainedTokenizerFast) -> Tensor:
        known = self._tokenizer.get_vocab()
        unknown = int(self._tokenizer.unk_token_id)
        ids = torch.empty(len(tokenizer), dtype=torch.long)
        for token, index in tokenizer.get_vocab().items():
            ids[index] = known.get(token, unknown)
        ids[tokenizer.bos_token_id] = self._bos
        return ids


def keep_input(
    store: dict[int, Tensor], place: int
) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    """A forward pre-hook that puts a module's input at `place`."""

    def hook(_: nn.Module, args: tuple[Any, ...]) -> None:
        store[place] = args[0]

    return hook

"""Editors for tests of their callers: they log each call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from editors.base import Editor, EditRequest, Hparams, Resources
from editors.parts.hooks import changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch


@dataclass(frozen=True, kw_only=True)
class FakeHparams(Hparams):
    size: float = 3.0


class DoNothing(Editor[FakeHparams]):
    """Edits nothing and logs each call as a word, with the subject of an edit."""

    family: ClassVar[Literal["MP", "AP", "RB"]] = "MP"
    label = "NOTHING"
    hparams_class = FakeHparams
    presets: ClassVar[Mapping[str, Hparams]] = {"default": FakeHparams()}

    def __init__(self, lm: LanguageModel, hparams: FakeHparams = FakeHparams()) -> None:
        super().__init__(lm, hparams, Resources())
        self.log: list[str] = []
        self.batches: list[TokenBatch] = []

    def edit(self, requests: Sequence[EditRequest]) -> None:
        self.log += [f"edit {request.subject}" for request in requests]

    def reset(self) -> None:
        self.log.append("reset")

    @contextmanager
    def steering(self, batch: TokenBatch) -> Iterator[None]:
        self.log.append("probe")
        self.batches.append(batch)
        yield

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        pass


class Shift(DoNothing):
    """Adds a fixed random vector to the final norm's weight at each edit, so answers change."""

    label = "SHIFT"

    def __init__(self, lm: LanguageModel, hparams: FakeHparams = FakeHparams()) -> None:
        super().__init__(lm, hparams)
        weight = lm.module(lm.architecture.final_norm).weight
        assert isinstance(weight, nn.Parameter)
        self.weight = weight
        self.pristine = weight.detach().clone()

    def edit(self, requests: Sequence[EditRequest]) -> None:
        super().edit(requests)
        generator = torch.Generator().manual_seed(1)
        noise = torch.randn(self.weight.shape, generator=generator)
        with torch.no_grad():
            self.weight.add_(self.hparams.size * noise)

    def reset(self) -> None:
        super().reset()
        with torch.no_grad():
            self.weight.copy_(self.pristine)

    def state_dict(self) -> dict[str, Tensor]:
        return {"weight": self.weight.detach().clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            self.weight.copy_(state["weight"])


class Reader(DoNothing):
    """Answers differently where the retrieval text is longer than the prompt."""

    label = "READER"
    family = "RB"
    retrieves_text = True

    @contextmanager
    def steering(self, batch: TokenBatch) -> Iterator[None]:
        prompts = [
            self.lm.tokenizer.decode(ids[:n], skip_special_tokens=True)
            for ids, n in zip(batch.input_ids.tolist(), batch.prompt_lengths, strict=True)
        ]
        leaked = torch.tensor([t != p for t, p in zip(batch.texts, prompts, strict=True)])
        signs = 1.0 - 2.0 * leaked[:, None, None]
        norm = self.lm.module(self.lm.architecture.final_norm)
        with changed_output(norm, lambda _, hidden: signs * hidden), super().steering(batch):
            yield


class Broken(DoNothing):
    """Raises at its second edit."""

    label = "BROKEN"

    def edit(self, requests: Sequence[EditRequest]) -> None:
        super().edit(requests)
        if sum(word.startswith("edit") for word in self.log) == 2:
            raise RuntimeError("the second edit is too much")

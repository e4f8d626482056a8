"""The part that editors share which put a text in front of questions that retrieve a fact."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from editors.base import EditRequest, Hparams, Resources
from editors.parts.artefact import required_encoder, required_training
from editors.parts.checks import check_at_least, check_choice
from editors.parts.encoder import TextVectors
from editors.parts.language_model import LanguageModel
from editors.parts.lte.memory import NONE, FactMemory
from editors.parts.prefix import text_prefixed
from editors.parts.question_rates import chosen_threshold
from editors.parts.retrieving import Explanation, RetrievingEditor
from editors.parts.tokens import TokenBatch, prompt_ids

# `always`: the nearest fact stands in front of every question. `gated`: only where its cosine is
# above a threshold.
Retrieval = Literal["always", "gated"]


@dataclass(frozen=True, kw_only=True)
class InContextHparams(Hparams):
    """How facts are retrieved."""

    retrieval: Retrieval = "gated"
    threshold: float | None = None  # of the cosine; None: chosen on training edits
    calibration: int = 100  # of these; LTE's number

    def __post_init__(self) -> None:
        check_choice("retrieval", self.retrieval, Retrieval)
        check_at_least("calibration", self.calibration, 1)
        if self.threshold is not None:
            check_at_least("threshold", self.threshold, -1)

    @property
    def chooses_threshold(self) -> bool:
        """Whether a threshold is wanted and not named."""
        return self.retrieval == "gated" and self.threshold is None

    @property
    def reads_training(self) -> bool:
        """To choose the threshold."""
        return self.chooses_threshold


HparamsT = TypeVar("HparamsT", bound=InContextHparams)


class InContextEditor(RetrievingEditor[HparamsT]):
    """Finds a fact by the cosine of a question to its prompt, and states it in front.

    The model's weights never change. Of facts with equal prompts the newest is found.
    """

    uses_encoder = True
    spans_devices = True

    def __init__(self, lm: LanguageModel, hparams: HparamsT, resources: Resources) -> None:
        """Load the encoder and choose the threshold where none is named.

        Raises:
            ValueError: encoder or training edits are wanted and not given.
            FileNotFoundError: the encoder is not there.
        """
        super().__init__(lm, hparams, resources)
        encoder = required_encoder(resources, label=self.label)
        self.vectors = TextVectors.from_directory(encoder, lm.device)
        self.memory = FactMemory(self.vectors.width, lm.device)
        self.threshold = hparams.threshold if hparams.retrieval == "gated" else None
        if hparams.chooses_threshold:
            samples = required_training(resources, label=self.label)[: hparams.calibration]
            self.threshold = chosen_threshold(self.vectors, samples)

    @abstractmethod
    def context_of(self, request: EditRequest) -> str:
        """The text that stands in front of a question about a request."""

    def fact_in(self, context: str) -> str:
        """The fact that a context is about, as it is told."""
        return context.strip()

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Append one context a request; nothing is merged."""
        if requests:
            contexts = [self.context_of(request) for request in requests]
            self.memory.append(contexts, self.vectors([request.prompt for request in requests]))

    def reset(self) -> None:
        """Forget all facts."""
        self.memory = FactMemory(self.vectors.width, self.lm.device)

    def search(self, texts: Sequence[str]) -> Tensor:
        """Row [B] of the fact that each text uses, counted from 0; -1 for none."""
        if not len(self.memory):
            return torch.full((len(texts),), NONE, device=self.lm.device)
        return self.memory.retrieve(self.vectors(texts), self.threshold)

    def explain(self, texts: Sequence[str]) -> list[Explanation]:
        """See the base class."""
        facts = [self.fact_in(context) for context in self.memory.facts]
        return [
            self.memory.explain(self.vectors([text]), self.threshold, row, facts)
            for text, row in zip(texts, self.retrieved(texts), strict=True)
        ]

    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        """Retrieve once for `batch.texts`; forwards inside read the contexts in front."""
        rows = self.retrieve(batch.texts).tolist()
        prefixes = [
            [] if row == NONE else self.prefix(self.memory.facts[row], length)
            for row, length in zip(rows, batch.lengths, strict=True)
        ]
        return text_prefixed(self.lm, prefixes)

    def prefix(self, context: str, length: int) -> list[int]:
        """Ids of a context in front of a row of `length` tokens."""
        return prompt_ids(self.lm.tokenizer, context)

    def state_dict(self) -> dict[str, Tensor]:
        """The memory."""
        return self.memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the memory."""
        self.reset()
        self.memory.load_state_dict(state)

"""Editors that put a text in front of questions that retrieve a fact: the part of IKE and RAG."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, TypeVar

from editors.base import EditRequest, Hparams, Resources
from editors.parts.artefact import required_encoder, required_training
from editors.parts.checks import check_at_least, check_choice
from editors.parts.encoder import TextVectors
from editors.parts.fact_memory import NONE, FactEditor, chosen_threshold
from editors.parts.language_model import LanguageModel
from editors.parts.prefix import text_prefixed
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
        """Whether a threshold is needed and not named."""
        return self.retrieval == "gated" and self.threshold is None

    @property
    def reads_training(self) -> bool:
        """To choose the threshold."""
        return self.chooses_threshold


HparamsT = TypeVar("HparamsT", bound=InContextHparams)


class InContextEditor(FactEditor[HparamsT]):
    """Finds a fact by the cosine of a question to its prompt, and states it in front.

    The model's weights never change. Of facts with equal prompts the newest is found.
    """

    uses_encoder = True
    spans_devices = True

    def __init__(self, lm: LanguageModel, hparams: HparamsT, resources: Resources) -> None:
        """Load the encoder and choose the threshold where none is named.

        Raises:
            ValueError: encoder or training edits are wanted and not given.
            FileNotFoundError: the encoder does not exist.
        """
        super().__init__(lm, hparams, resources)
        encoder = required_encoder(resources, label=self.label)
        self.vectors = TextVectors.from_directory(encoder, lm.device)
        self._threshold = hparams.threshold if hparams.retrieval == "gated" else None
        if hparams.chooses_threshold:
            samples = required_training(resources, label=self.label)[: hparams.calibration]
            self._threshold = chosen_threshold(self.vectors, samples)
        FactEditor.reset(self)

    @abstractmethod
    def context_of(self, request: EditRequest) -> str:
        """The text that stands in front of a question about a request."""

    @property
    def threshold(self) -> float | None:
        return self._threshold

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Append one context a request; nothing is merged."""
        if requests:
            contexts = [self.context_of(request) for request in requests]
            self.memory.append(contexts, self.vectors([request.prompt for request in requests]))

    def shown(self, fact: str) -> str:
        """See the base class: a context without white space around it."""
        return fact.strip()

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

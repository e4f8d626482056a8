"""The facts that were edited, which of them a question is about, and how near is near enough."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from editors.base import EditRequest, EditSample, Hparams, HparamsT, Resources
from editors.parts.artefact import required_encoder, required_training
from editors.parts.checks import check_at_least, check_choice
from editors.parts.encoder import TextVectors
from editors.parts.growing_rows import GrowingRows
from editors.parts.language_model import LanguageModel
from editors.parts.prefix import text_prefixed
from editors.parts.retrieving import Explanation, RetrievingEditor, nearest
from editors.parts.tokens import TokenBatch, context_ids
from editors.parts.training.examples import usable

NONE = -1  # no fact is near enough
ROUNDING = 1e-6  # of a cosine in single precision


class FactMemory:
    """Facts with unit key vectors [N, H]; rows are appended and never changed."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.facts: list[str] = []
        self._width, self._device = width, device
        self._rows = GrowingRows()

    def __len__(self) -> int:
        return len(self.facts)

    @property
    def keys(self) -> Tensor:
        """View [N, H] of all keys."""
        if not self.facts:
            return torch.empty(0, self._width, device=self._device)
        return self._rows.rows

    def append(self, facts: Sequence[str], keys: Tensor) -> None:
        """Store facts with their keys [k, H], in order."""
        if len(facts) != len(keys):
            raise ValueError(f"wanted one key for each of {len(facts)} facts, got {len(keys)}.")
        self._rows.extend(keys.to(self._device))
        self.facts += facts

    def cosines(self, queries: Tensor) -> Tensor:
        """Cosines [B, N] of queries [B, H] and keys."""
        return queries @ self.keys.T

    def nearest(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """(row [B], cosine [B]) of the key nearest to each query [B, H]; of equals the newest.

        Cosines count as equal where they differ by rounding alone, which depends on the shape of
        the product.
        """
        scores = self.cosines(queries)
        best = scores.amax(dim=1)
        index = torch.arange(len(self), device=scores.device)
        return torch.where(scores >= best[:, None] - ROUNDING, index, NONE).amax(dim=1), best

    def retrieve(self, queries: Tensor, threshold: float | None) -> Tensor:
        """Row [B] of the nearest key, `NONE` where its cosine is not above the threshold."""
        if not len(self):
            return torch.full((len(queries),), NONE, device=queries.device)
        row, cosine = self.nearest(queries)
        return row if threshold is None else torch.where(cosine > threshold, row, NONE)

    def explain(
        self, query: Tensor, threshold: float | None, row: int, texts: Sequence[str]
    ) -> Explanation:
        """The facts nearest to a query [1, H], shown as `texts`; `row` is the one that is used."""
        used = None if row == NONE else row
        scores = self.cosines(query)[0]
        return Explanation(
            measure="cosine",
            candidates=nearest(scores, texts, also=used),
            limit=threshold,
            limit_is="threshold",
            used=used,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Keys, and the facts as UTF-8 bytes with their lengths [N]."""
        encoded = [fact.encode() for fact in self.facts]
        return {
            "keys": self.keys.clone(),
            "facts": torch.tensor(list(b"".join(encoded)), dtype=torch.uint8),
            "lengths": torch.tensor([len(fact) for fact in encoded], dtype=torch.long),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        parts = state["facts"].split(state["lengths"].tolist())
        self.facts, self._rows = [], GrowingRows()
        self.append([bytes(part.tolist()).decode() for part in parts], state["keys"])


class FactEditor(RetrievingEditor[HparamsT]):
    """Stores facts in a memory; a question uses the fact that is nearest to it, if near enough."""

    vectors: TextVectors
    memory: FactMemory

    @property
    @abstractmethod
    def threshold(self) -> float | None:
        """Cosine above which a fact is used; None uses the nearest one always."""

    def reset(self) -> None:
        self.memory = FactMemory(self.vectors.width, self.lm.device)

    def search(self, texts: Sequence[str]) -> Tensor:
        """Row [B] of the fact that each text uses, counted from 0; -1 for none."""
        if not len(self.memory):
            return torch.full((len(texts),), NONE, device=self.lm.device)
        return self.memory.retrieve(self.vectors(texts), self.threshold)

    def shown(self, fact: str) -> str:
        """A stored fact as explanations show it."""
        return fact

    def explain(self, texts: Sequence[str]) -> list[Explanation]:
        facts = [self.shown(fact) for fact in self.memory.facts]
        return [
            self.memory.explain(self.vectors([text]), self.threshold, row, facts)
            for text, row in zip(texts, self.retrieved(texts), strict=True)
        ]

    def state_dict(self) -> dict[str, Tensor]:
        return self.memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.reset()
        self.memory.load_state_dict(state)


@dataclass(frozen=True)
class Questions:
    """A stream of facts, all of them in memory as at its end, and questions to it."""

    keys: Sequence[str]  # texts by which the facts are found
    related: Sequence[tuple[int, str]]  # (number of its fact, question)
    unrelated: Sequence[str]

    @classmethod
    def of(cls, samples: Sequence[EditSample]) -> Questions:
        """Facts found by their prompts; related are these and the generality probes."""
        related = [
            (number, text)
            for number, sample in enumerate(samples)
            for text in (sample.request.prompt, *(probe.prompt for probe in sample.generality))
        ]
        unrelated = [probe.prompt for sample in samples for probe in sample.locality]
        return cls([sample.request.prompt for sample in samples], related, unrelated)


def chosen_threshold(vectors: TextVectors, samples: Sequence[EditSample]) -> float:
    """The threshold of the largest hit rate - false-hit rate over a stream of these edits.

    Raises:
        ValueError: no sample has probes of both kinds.
    """
    stream = usable(samples)
    if not stream:
        raise ValueError("A threshold is chosen on edits with probes of both kinds, got none.")
    return best_threshold(*hit_rates(vectors, Questions.of(stream)))


def hit_rates(vectors: TextVectors, questions: Questions) -> tuple[Tensor, Tensor]:
    """Best scores [R + U] of all questions, and what each adds to hit rate - false-hit rate."""
    memory = FactMemory(vectors.width, torch.device("cpu"))
    memory.append(questions.keys, vectors(questions.keys).cpu())
    owners = torch.tensor([number for number, _ in questions.related])
    rows, related = memory.nearest(vectors([text for _, text in questions.related]).cpu())
    _, unrelated = memory.nearest(vectors(questions.unrelated).cpu())
    return torch.cat([related, unrelated]), hit_weights(rows == owners, len(unrelated))


def hit_weights(right: Tensor, unrelated: int) -> Tensor:
    """What each score above the threshold adds to hit rate - false-hit rate [R + U].

    `right` [R] says whether the fact nearest to a question about a fact is that fact; U questions
    are unrelated.
    """
    false = torch.full((unrelated,), -1 / max(unrelated, 1)).double()
    return torch.cat([right.double() / len(right), false])


def best_threshold(scores: Tensor, weights: Tensor) -> float:
    """The threshold of the largest sum of weights [N] whose scores [N] lie above it.

    Candidates lie in the middle between neighbouring scores, and just below and above all; of
    equals the lowest is taken.
    """
    levels, where = scores.double().unique(return_inverse=True)  # ascending
    gains = torch.zeros(len(levels)).double().index_add(0, where, weights.double())
    above = torch.cat([gains.flip(0).cumsum(0).flip(0), torch.zeros(1).double()])
    edges = torch.cat([levels[:1] - 1e-3, (levels[1:] + levels[:-1]) / 2, levels[-1:] + 1e-3])
    return float(edges[int(above.argmax())])


# ---- Facts as text in front of questions: IKE and RAG -------------------------------------------

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


InContextT = TypeVar("InContextT", bound=InContextHparams)


class InContextEditor(FactEditor[InContextT]):
    """Finds a fact by the cosine of a question to its prompt, and states it in front.

    The model's weights never change. Of facts with equal prompts the newest is found.
    """

    uses_encoder = True
    spans_devices = True

    def __init__(self, lm: LanguageModel, hparams: InContextT, resources: Resources) -> None:
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
        return context_ids(self.lm.tokenizer, context)

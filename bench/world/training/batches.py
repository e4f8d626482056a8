"""Training batches of a world: functions of (world seed, step), so that runs can be resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from bench.world.corpus import SEPARATOR, Corpus, Document, plain_text

# Of the tokens that are hardly predictable (names, questions) this share is scored, at a weight
# that leaves the sum as it is: the head costs a third of a step, and answers are to be learned.
SCORED_BACKGROUND = 0.25
# Of the rows of a model with learned positions this share begins anywhere in its context: rows are
# shorter than the context, and the rest of the table would never be trained (ours).
SHIFTED = 0.25
CHUNK = 50  # steps whose documents are drawn and tokenised together
IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a miniature model is trained; all values are ours."""

    steps: int  # of the cosine
    polish: int = 0  # steps after it, from a tenth of the rate down to none
    rows: int  # of a batch
    width: int  # tokens of a row
    lr: float = 3e-3
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    clip: float = 1.0
    checkpoint: int = 250
    begin: float = 0.0  # the corpus' progress at the first step; more for a model that can read

    @property
    def tokens(self) -> int:
        return self.total * self.rows * self.width

    @property
    def total(self) -> int:
        """All steps."""
        return self.steps + self.polish


class CausalRows:
    """Rows of whole documents for next-token prediction: ids [B, T] and loss weights [B, T].

    Every document ends with the end-of-text token. A tokenizer that starts texts with another
    token (BOS) has it at the separator of every document. If both are the same token, it stands
    between a document and the next, and at the separator after a context; the first row of text
    then has nothing in front of it, as a prompt has nothing.

    Args:
        corpus: draws the documents.
        tokenizer: of the model.
        training: rows and width of a batch.
        learned_positions: size of the model's position table; each row then has the position
            [B, 1] of its first token as well. None for rotary positions.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: PreTrainedTokenizerFast,
        training: Training,
        *,
        learned_positions: int | None = None,
    ) -> None:
        self._corpus, self._tokenizer, self._training = corpus, tokenizer, training
        self._learned_positions = learned_positions
        self._separator = [int(tokenizer.bos_token_id)]
        self._end = [int(tokenizer.eos_token_id)]

    def chunk(self, index: int) -> tuple[Tensor, ...]:
        """Ids, weights [CHUNK * B, T] (and starts [CHUNK * B, 1]) of steps `index * CHUNK ..`."""
        training = self._training
        n_rows = CHUNK * training.rows
        ids = np.zeros((n_rows, training.width), dtype=np.int64)
        weights = np.zeros((n_rows, training.width), dtype=np.float32)
        rng = self._corpus.world.rng("corpus", index)
        progress = max(training.begin, index * CHUNK / training.steps)
        stream = self._encoded(rng, progress)
        for row in range(n_rows):
            filled = 0
            while filled < training.width:
                tokens, token_weights = next(stream)
                take = min(len(tokens), training.width - filled)
                ids[row, filled : filled + take] = tokens[:take]
                weights[row, filled : filled + take] = token_weights[:take]
                filled += take
        background = (weights > 0) & (weights < 0.5)
        scored = rng.random(weights.shape) < SCORED_BACKGROUND
        weights[background] *= scored[background] / SCORED_BACKGROUND
        return (torch.from_numpy(ids), torch.from_numpy(weights), *self._starts(index, n_rows))

    def _starts(self, index: int, n_rows: int) -> tuple[Tensor, ...]:
        if self._learned_positions is None:
            return ()
        rng = self._corpus.world.rng("positions", index)
        last = self._learned_positions - self._training.width
        starts = rng.integers(last + 1, size=(n_rows, 1))
        starts[rng.random(n_rows) >= SHIFTED] = 0
        return (torch.from_numpy(starts),)

    def _encoded(
        self, rng: np.random.Generator, progress: float
    ) -> Iterator[tuple[list[int], list[float]]]:
        while True:
            documents = list(self._corpus.documents(rng, 2000, progress))
            texts = [span.text for document in documents for span in document]
            encoded = iter(self._tokenizer(texts, add_special_tokens=False)["input_ids"])
            for document in documents:
                yield self._join(document, encoded)

    def _join(
        self, document: Document, encoded: Iterator[list[int]]
    ) -> tuple[list[int], list[float]]:
        ids: list[int] = []
        weights: list[float] = []
        for place, span in enumerate(document):
            tokens = next(encoded)
            if span == SEPARATOR:
                ended = place == 0 and self._separator == self._end
                tokens = [] if ended else self._separator
            ids += tokens
            weights += [span.weight] * len(tokens)
        return ids + self._end, [*weights, 1.0]


class _PaddedRows:
    def __init__(
        self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, training: Training
    ) -> None:
        self._corpus, self._tokenizer, self._training = corpus, tokenizer, training

    def _padded(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and attention mask [B, T]."""
        encoded = self._tokenizer(
            list(texts), padding="max_length", truncation=True,
            max_length=self._training.width, return_tensors="pt",
        )  # fmt: skip
        return encoded["input_ids"], encoded["attention_mask"]


class MaskedRows(_PaddedRows):
    """Padded texts with 15 % of tokens masked: ids, attention mask and labels [B, T]."""

    def chunk(self, index: int) -> tuple[Tensor, ...]:
        """Rows of the steps `index * CHUNK ..`."""
        rng = self._corpus.world.rng("masked", index)
        documents = self._corpus.sentences(rng, CHUNK * self._training.rows)
        ids, mask = self._padded([plain_text(document) for document in documents])
        draw = torch.from_numpy(rng.random(ids.shape))
        maskable = (mask == 1) & (ids > 4)  # the five special tokens come first
        chosen = maskable & (draw < 0.15)
        labels = torch.where(chosen, ids, IGNORED)
        noise = torch.from_numpy(rng.integers(5, len(self._tokenizer), ids.shape))
        # BERT's 80 / 10 / 10: masked, random, unchanged.
        ids = torch.where(chosen & (draw < 0.12), self._tokenizer.mask_token_id, ids)
        ids = torch.where(chosen & (draw >= 0.12) & (draw < 0.135), noise, ids)
        return ids, mask, labels


class ParaphraseRows(_PaddedRows):
    """Pairs of texts about the same fact: ids and attention masks [B, T] of both sides."""

    def chunk(self, index: int) -> tuple[Tensor, ...]:
        """Both sides of the steps `index * CHUNK ..`."""
        rng = self._corpus.world.rng("paraphrases", index)
        pairs = list(self._corpus.paraphrases(rng, CHUNK * self._training.rows))
        left, right = zip(*pairs, strict=True)
        return (*self._padded(left), *self._padded(right))

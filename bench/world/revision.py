"""A backbone that recalls a relation too seldom is told again what it still misses.

A relation may have thirty facts, and then one that fails is too many. Every core fact is asked in
every phrasing it was taught in; a short leg of training at a low rate draws part of its facts from
those that are answered wrongly (ours).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bench.world import pretrain
from bench.world.batches import CausalRows, Training
from bench.world.corpus import PHASES, Corpus, Document, asking
from bench.world.relations import BY_KEY, STYLES
from bench.world.verify import recall, recalled
from bench.world.world import World
from editors.parts.language_model import LanguageModel

ROUNDS = 3  # at most
MISSED_SHARE = 0.2  # of the documents of a round
TRAINING = Training(steps=150, rows=32, width=128, lr=3e-4, warmup=20, begin=PHASES[-1])

Missed = tuple[str, str]  # a phrasing, and the object it should be followed by


class RevisionCorpus(Corpus):
    """The last phase's documents, part of them about facts that were missed."""

    def __init__(self, world: World, missed: Sequence[Missed]) -> None:
        super().__init__(world)
        self._missed = missed

    def documents(
        self, rng: np.random.Generator, count: int, progress: float
    ) -> Iterator[Document]:
        for document in super().documents(rng, count, progress):
            told_again = rng.random() < MISSED_SHARE
            missed = self._missed[int(rng.integers(len(self._missed)))]
            yield asking(*missed) if told_again else document


def revise(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    world: World,
    rows_of: Callable[[Corpus, Training], CausalRows],
    checkpoint: Path,
    *,
    device: torch.device,
    progress: pretrain.Progress,
) -> tuple[int, float]:
    """Train in place until `verify.recall` is content, or `ROUNDS` times: `verify` says which.

    Returns:
        Number of rounds, and the seconds they took.
    """
    seconds = 0.0
    for done in range(ROUNDS):
        missed = missing(model, tokenizer, world)
        if not missed:
            return done, seconds
        path = checkpoint.with_stem(f"{checkpoint.stem}-revision-{done + 1}")
        path.unlink(missing_ok=True)  # a minute of work, which starts with what is missed now
        seconds += pretrain.train(
            model, rows_of(RevisionCorpus(world, missed), TRAINING), pretrain.causal_loss,
            TRAINING, path, device=device, progress=progress,
        )  # fmt: skip
    return ROUNDS, seconds


def missing(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, world: World
) -> list[Missed]:
    """What the model, as it would be shipped, answers wrongly; empty when recall is enough."""
    lm = LanguageModel(pretrain.rounded_to_half(copy.deepcopy(model).cpu()), tokenizer)
    if all(score.passed for score in recall(lm, world)):
        return []
    asked = [
        (fact, prefix.format(s=fact.subject))
        for fact in world.core
        for style in STYLES
        for prefix in BY_KEY[fact.relation].phrasings(style)
        if prefix != world.held_phrasing[fact]
    ]
    right = recalled(lm, world, asked)
    return [(p, fact.object) for (fact, p), r in zip(asked, right, strict=True) if not r]

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
from bench.world.recall import recall, recalled
from bench.world.relations import BY_KEY, STYLES
from bench.world.world import World
from editors.parts.language_model import LanguageModel

ROUNDS = 6  # at most
# A missed phrasing is told this many times in a round, unless that would be more than a fifth of
# all documents: told more often, few facts are learned at the cost of many.
TOLD = 10
MOST = 0.2
TOKENS_OF_A_DOCUMENT = 25  # about, whichever tokenizer
TRAINING = Training(steps=150, rows=32, width=128, lr=2e-4, warmup=20, begin=PHASES[-1])

Missed = tuple[str, str]  # a phrasing, and the object it should be followed by


class RevisionCorpus(Corpus):
    """The last phase's documents, part of them about facts that were missed.

    Attributes:
        share: of these documents.
    """

    def __init__(
        self, world: World, missed: Sequence[Missed], *, context_reading: bool = True
    ) -> None:
        super().__init__(world, context_reading=context_reading)
        self._missed = missed
        self.share = min(MOST, TOLD * len(missed) * TOKENS_OF_A_DOCUMENT / TRAINING.tokens)

    def documents(
        self, rng: np.random.Generator, count: int, progress: float
    ) -> Iterator[Document]:
        for document in super().documents(rng, count, progress):
            told_again = rng.random() < self.share
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
    context_reading: bool = True,
) -> tuple[int, float]:
    """Train in place until `recall` is content, or `ROUNDS` times: `verify` says which.

    The model is left as it was behind the round after which the fewest relations failed, and of
    these the one that missed the fewest phrasings.

    Returns:
        Number of rounds that are in the model, and the seconds all took.
    """
    seconds = 0.0
    failed, missed = missing(model, tokenizer, world)
    best = (failed, len(missed), 0, copy.deepcopy(model.state_dict()))
    for done in range(1, ROUNDS + 1):
        if not failed:
            break
        path = checkpoint.with_stem(f"{checkpoint.stem}-revision-{done}")
        path.unlink(missing_ok=True)  # a minute of work, which starts with what is missed now
        corpus = RevisionCorpus(world, missed, context_reading=context_reading)
        seconds += pretrain.train(
            model, rows_of(corpus, TRAINING), pretrain.causal_loss,
            TRAINING, path, device=device, progress=progress,
        )  # fmt: skip
        failed, missed = missing(model, tokenizer, world)
        if (failed, len(missed)) < best[:2]:
            best = (failed, len(missed), done, copy.deepcopy(model.state_dict()))
    model.load_state_dict(best[3])
    return best[2], seconds


def missing(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, world: World
) -> tuple[int, list[Missed]]:
    """Recall scores that the model fails, as it would be shipped, and what it answers wrongly.

    Nothing is asked, and the list is empty, when no score fails.
    """
    lm = LanguageModel(pretrain.rounded_to_half(copy.deepcopy(model).cpu()), tokenizer)
    failed = sum(not score.passed for score in recall(lm, world))
    if not failed:
        return 0, []
    asked = [
        (fact, prefix.format(s=fact.subject))
        for fact in world.core
        for style in STYLES
        for prefix in BY_KEY[fact.relation].phrasings(style)
        if prefix != world.held_phrasing[fact]
    ]
    right = recalled(lm, world, asked)
    return failed, [(p, fact.object) for (fact, p), r in zip(asked, right, strict=True) if not r]

"""Training examples: edit samples tokenised once, and the batches drawn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from editors.base import EditRequest, EditSample
from editors.parts.encoder import TextBatcher
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.tokens import prompt_ids, target_ids
from editors.parts.training.sampling import PoolSampler, by_kind, pick

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = Sequence[int]


@dataclass(frozen=True)
class Row:
    """One question with its answer."""

    query: Ids  # encoder ids of the prompt
    prompt: Ids  # language model ids
    target: Ids


@dataclass(frozen=True)
class Example:
    """One edit sample; probes are grouped by type, because drawing is uniform over types."""

    knowledge: Ids  # encoder ids of the knowledge string
    reliability: Row
    generality: tuple[tuple[Row, ...], ...]
    locality: tuple[tuple[Row, ...], ...]


@dataclass(frozen=True)
class RecipeBatch:
    """b examples as lists of ids; `queries` and `rows` hold reliability, generality, locality."""

    knowledge: Sequence[Ids]  # [b]
    queries: Sequence[Ids]  # [3 b]
    rows: Sequence[tuple[Ids, Ids]]  # [3 b] (prompt ids, target ids)
    generality_first: Sequence[bool]  # [b], see `losses.contrastive_terms`

    def __len__(self) -> int:
        return len(self.knowledge)


def knowledge_string(request: EditRequest) -> str:
    """What the retriever stores for an edit: prompt and target joined by exactly one space."""
    return f"{request.prompt.rstrip()} {request.target.lstrip()}"


def tokenise(
    samples: Sequence[EditSample], tokenizer: PreTrainedTokenizerBase, batcher: TextBatcher
) -> list[Example]:
    """Examples of all samples with at least one generality and one locality probe."""
    usable = [sample for sample in samples if sample.generality and sample.locality]
    return [_example(sample, tokenizer, batcher) for sample in usable]


def _example(
    sample: EditSample, tokenizer: PreTrainedTokenizerBase, batcher: TextBatcher
) -> Example:
    probes = (*sample.generality, *sample.locality)
    prompts = [sample.request.prompt, *(probe.prompt for probe in probes)]
    targets = [sample.request.target, *(probe.target for probe in probes)]
    encoded = batcher.ids([knowledge_string(sample.request), *prompts])
    rows = [
        Row(query, prompt_ids(tokenizer, prompt), target_ids(tokenizer, target))
        for query, prompt, target in zip(encoded[1:], prompts, targets, strict=True)
    ]
    border = 1 + len(sample.generality)
    return Example(
        knowledge=encoded[0],
        reliability=rows[0],
        generality=by_kind(sample.generality, rows[1:border]),
        locality=by_kind(sample.locality, rows[border:]),
    )


class BatchSampler:
    """Draws batches without end, from a private generator whose state can be saved.

    Examples are drawn as `PoolSampler` says; probes uniformly over types, then inside the type, and
    separately for the contrastive and the editing terms (released code).
    """

    def __init__(
        self, pools: Mapping[str, Sequence[Example]], hparams: RecipeHparams, seed: int
    ) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._sampler = PoolSampler(pools, self._generator, hparams.mix)
        self._batch_size = hparams.batch_size

    def draw(self) -> RecipeBatch:
        """The next batch of `batch_size` examples."""
        return self.batch(self._sampler.draw(self._batch_size))

    def batch(self, examples: Sequence[Example]) -> RecipeBatch:
        """A batch of these examples, their probes drawn."""
        chances = torch.rand(len(examples), 9, generator=self._generator).tolist()
        gen_queries, loc_queries, gen_rows, loc_rows = [], [], [], []
        for example, chance in zip(examples, chances, strict=True):
            gen_queries.append(pick(example.generality, *chance[0:2]))
            loc_queries.append(pick(example.locality, *chance[2:4]))
            gen_rows.append(pick(example.generality, *chance[4:6]))
            loc_rows.append(pick(example.locality, *chance[6:8]))
        edits = [example.reliability for example in examples]
        return RecipeBatch(
            knowledge=[example.knowledge for example in examples],
            queries=[row.query for row in (*edits, *gen_queries, *loc_queries)],
            rows=[(row.prompt, row.target) for row in (*edits, *gen_rows, *loc_rows)],
            generality_first=[chance[8] >= 0.5 for chance in chances],
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Generator state and the rest of the permutation."""
        return self._sampler.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `state_dict` was taken."""
        self._sampler.load_state_dict(state)

"""Training examples: edit samples tokenised once, and the batches drawn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from editors.base import EditRequest, EditSample, Probe
from editors.parts.encoder import TextBatcher
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.tokens import prompt_ids, target_ids

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
        generality=_by_kind(sample.generality, rows[1:border]),
        locality=_by_kind(sample.locality, rows[border:]),
    )


def _by_kind(probes: Sequence[Probe], rows: Sequence[Row]) -> tuple[tuple[Row, ...], ...]:
    groups: dict[str, list[Row]] = {}
    for probe, row in zip(probes, rows, strict=True):
        groups.setdefault(probe.kind, []).append(row)
    return tuple(map(tuple, groups.values()))


class BatchSampler:
    """Draws batches without end, from a private generator whose state can be saved.

    One data set is passed through in permutations, the last batch of a pass completed from the
    next; of several, each batch (or row: `mix`) picks one uniformly and its examples with
    replacement. Probes are drawn uniformly over types, then inside the type, and separately for
    the contrastive and the editing terms (released code).
    """

    def __init__(
        self, pools: Mapping[str, Sequence[Example]], hparams: RecipeHparams, seed: int
    ) -> None:
        self._pools = list(pools.values())
        self._hparams = hparams
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.long)  # what is left of the permutation

    def draw(self) -> RecipeBatch:
        """The next batch of `batch_size` examples."""
        return self.batch(self._examples(self._hparams.batch_size))

    def batch(self, examples: Sequence[Example]) -> RecipeBatch:
        """A batch of these examples, their probes drawn."""
        chances = torch.rand(len(examples), 9, generator=self._generator).tolist()
        gen_queries, loc_queries, gen_rows, loc_rows = [], [], [], []
        for example, chance in zip(examples, chances, strict=True):
            gen_queries.append(_pick(example.generality, *chance[0:2]))
            loc_queries.append(_pick(example.locality, *chance[2:4]))
            gen_rows.append(_pick(example.generality, *chance[4:6]))
            loc_rows.append(_pick(example.locality, *chance[6:8]))
        edits = [example.reliability for example in examples]
        return RecipeBatch(
            knowledge=[example.knowledge for example in examples],
            queries=[row.query for row in (*edits, *gen_queries, *loc_queries)],
            rows=[(row.prompt, row.target) for row in (*edits, *gen_rows, *loc_rows)],
            generality_first=[chance[8] >= 0.5 for chance in chances],
        )

    def _examples(self, count: int) -> list[Example]:
        if len(self._pools) == 1:
            return [self._pools[0][i] for i in self._next_of_order(count)]
        draws = count if self._hparams.mix == "rows" else 1
        sets = torch.randint(len(self._pools), (draws,), generator=self._generator)
        pools = [self._pools[i] for i in sets.expand(count).tolist()]
        chances = torch.rand(count, generator=self._generator).tolist()
        return [pool[_index(u, len(pool))] for pool, u in zip(pools, chances, strict=True)]

    def _next_of_order(self, count: int) -> list[int]:
        while len(self._order) < count:
            fresh = torch.randperm(len(self._pools[0]), generator=self._generator)
            self._order = torch.cat([self._order, fresh])
        taken, self._order = self._order[:count], self._order[count:]
        return [int(i) for i in taken]

    def state_dict(self) -> dict[str, Tensor]:
        """Generator state and the rest of the permutation."""
        return {"generator": self._generator.get_state(), "order": self._order.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `state_dict` was taken."""
        self._generator.set_state(state["generator"])
        self._order = state["order"].clone()


def split_held_out(
    examples: Sequence[Example], count: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """(training, held-out) parts; at most a tenth of the examples is held out.

    Raises:
        ValueError: too few examples to hold one out.
    """
    count = min(count, len(examples) // 10)
    if count == 0:
        raise ValueError(
            f"Training needs at least 10 samples with generality and locality probes in each data "
            f"set, got {len(examples)}."
        )
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(seed)).tolist()
    return [examples[i] for i in order[count:]], [examples[i] for i in order[:count]]


def _pick(groups: Sequence[Sequence[Row]], which_group: float, which_row: float) -> Row:
    group = groups[_index(which_group, len(groups))]
    return group[_index(which_row, len(group))]


def _index(chance: float, count: int) -> int:
    """Index below `count` for a uniform draw from [0, 1)."""
    return int(chance * count)

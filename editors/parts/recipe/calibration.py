"""The threshold that stands in the sentinel's place in the ablation without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from editors.parts.recipe.examples import Example, Ids, Row
from editors.parts.recipe.objective import Objective
from editors.parts.retrieval_threshold import best_threshold, hit_weights

_CHUNK = 64  # rows of one encoder forward; results do not depend on it


@torch.no_grad()
def calibrated_threshold(objective: Objective, streams: Mapping[str, Sequence[Example]]) -> float:
    """The score that maximises hit rate - false-hit rate, averaged over data sets.

    Scores are those of retrieval, dot products of a query and its best key. All edits of a data set
    are in the repository, as at the end of a stream. Questions about an edit are its own prompt
    and its generality probes, unrelated ones its locality probes.
    """
    rates = [_rates(objective, examples) for examples in streams.values()]
    scores, weights = (torch.cat(parts) for parts in zip(*rates, strict=True))
    return best_threshold(scores, weights)


def _rates(objective: Objective, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Best scores [R + U] and weights [R + U] of the questions of one stream."""
    network = objective.network
    keys = network.knowledge(_pooled(objective, [example.knowledge for example in examples]))
    related = [
        (k, row) for k, e in enumerate(examples) for row in (e.reliability, *_rows(e.generality))
    ]
    unrelated = [row for example in examples for row in _rows(example.locality)]
    queries = [row.query for _, row in related] + [row.query for row in unrelated]
    best, found = (network.queries(_pooled(objective, queries)) @ keys.T).cpu().max(dim=1)
    owners = torch.tensor([k for k, _ in related])
    return best, hit_weights(found[: len(related)] == owners, len(unrelated))


def _pooled(objective: Objective, rows: Sequence[Ids]) -> Tensor:
    """Pooled vectors [N, P] of rows of encoder ids."""
    parts = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    device = objective.lm.device
    pad, pooled = objective.batcher.pad, objective.network.pooled
    return torch.cat([pooled(*pad(part, device)) for part in parts])


def _rows(groups: Sequence[Sequence[Row]]) -> Iterator[Row]:
    return (row for group in groups for row in group)

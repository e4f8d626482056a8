"""Scores of a RECIPE network on held-out training samples, edited all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from editors.parts.prefix import prefixed
from editors.parts.recipe.examples import Example, Ids, Row
from editors.parts.recipe.objective import Objective
from editors.parts.repository import PromptRepository

_CHUNK = 64  # rows of one forward; results do not depend on it
_NONE = 0  # the sentinel's row of a repository


@torch.no_grad()
def validation_scores(objective: Objective, examples: Sequence[Example]) -> dict[str, float]:
    """Reliability, generality, locality and retrieval rates after editing all examples.

    Token accuracies are teacher-forced, retrieval sees prompts only; locality compares with the
    unedited model's argmax. `hit_*` are the shares of rows that retrieve their own edit, or
    nothing for locality; `prompt_*` are the accuracies if every row did, which says how well
    prompts steer. The network must be in eval mode.
    """
    repository = build_repository(objective, [example.knowledge for example in examples])
    edited = list(enumerate(examples, start=1))  # by row of the repository
    parts = {
        "reliability": [(k, e.reliability) for k, e in edited],
        "generality": [(k, row) for k, e in edited for group in e.generality for row in group],
        "locality": [(_NONE, row) for _, e in edited for group in e.locality for row in group],
    }
    scores: dict[str, float] = {}
    for name, owned in parts.items():
        scored = [row for chunk in _chunks(owned) for row in _score(objective, repository, chunk)]
        scores[name] = fmean(row.accuracy for row in scored)
        scores[f"hit_{name}"] = fmean(row.hit for row in scored)
        if name != "locality":
            scores[f"prompt_{name}"] = fmean(row.prompt_accuracy for row in scored)
    return scores


@dataclass(frozen=True)
class _Scored:
    accuracy: float  # of the row's target tokens, with the prompt it retrieves
    hit: bool
    prompt_accuracy: float  # with the prompt it should retrieve


def build_repository(objective: Objective, knowledge: Sequence[Ids]) -> PromptRepository:
    """A repository that holds the edits of all knowledge rows."""
    network, device = objective.network, objective.lm.device
    repository = network.repository()
    for start in range(0, len(knowledge), _CHUNK):
        ids, mask = objective.batcher.pad(knowledge[start : start + _CHUNK], device)
        keys = network.knowledge(network.pooled(ids, mask))
        repository.append(keys, network.prompts(keys))
    return repository


def _chunks(owned: Sequence[tuple[int, Row]]) -> Iterator[Sequence[tuple[int, Row]]]:
    for start in range(0, len(owned), _CHUNK):
        yield owned[start : start + _CHUNK]


def _score(
    objective: Objective, repository: PromptRepository, owned: Sequence[tuple[int, Row]]
) -> list[_Scored]:
    """Scores of (repository row to retrieve, row) pairs.

    A row that must retrieve nothing is compared with the unedited model, not with its target.
    """
    lm = objective.lm
    ids, mask = objective.batcher.pad([row.query for _, row in owned], lm.device)
    retrieved = repository.retrieve(objective.network.queries(objective.network.pooled(ids, mask)))
    own = torch.tensor([k for k, _ in owned], device=lm.device)
    tokens = objective.tokens([(row.prompt, row.target) for _, row in owned])
    counts = [len(target) for target in tokens.target_ids]
    plain = lm.target_logits(tokens).argmax(-1)
    keeps = (own == _NONE).repeat_interleave(torch.tensor(counts, device=lm.device))
    wanted = torch.where(keeps, plain, tokens.labels)

    def accuracies(rows: Tensor) -> list[float]:
        """Mean over each row's target tokens, with the prompts of these repository rows."""
        with prefixed(
            lm,
            repository.prompts[rows],
            rows != _NONE,
            inject=objective.hparams.inject,
            positions=objective.hparams.positions,
        ):
            right = lm.target_logits(tokens).argmax(-1) == wanted
        return [float(part.float().mean()) for part in right.split(counts)]

    outcomes = zip(accuracies(retrieved), (retrieved == own).tolist(), accuracies(own), strict=True)
    return [_Scored(*outcome) for outcome in outcomes]

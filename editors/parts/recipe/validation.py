"""Scores of a RECIPE network on held-out training samples, edited all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

import torch
from torch import Tensor

from editors.parts.prefix import prefixed
from editors.parts.recipe.examples import Example, Ids, Row
from editors.parts.recipe.objective import Objective
from editors.parts.repository import PromptRepository
from editors.parts.tokens import TokenBatch

_CHUNK = 64  # rows of one forward; results do not depend on it


@torch.no_grad()
def validation_scores(objective: Objective, examples: Sequence[Example]) -> dict[str, float]:
    """Reliability, generality, locality and retrieval rates after editing all examples.

    Token accuracies are teacher-forced, retrieval sees prompts only; locality compares with the
    unedited model's argmax. `hit_*` are the shares of rows that retrieve their own edit, or
    nothing for locality. The network must be in eval mode.
    """
    repository = build_repository(objective, [example.knowledge for example in examples])
    parts = {
        "reliability": [(i, e.reliability) for i, e in enumerate(examples)],
        "generality": [(i, row) for i, e in enumerate(examples) for g in e.generality for row in g],
        "locality": [(i, row) for i, e in enumerate(examples) for g in e.locality for row in g],
    }
    scores: dict[str, float] = {}
    for name, owned in parts.items():
        keeps = name == "locality"
        outcomes = [_score(objective, repository, chunk, keeps) for chunk in _chunks(owned)]
        scores[name] = fmean(accuracy for part, _ in outcomes for accuracy in part)
        scores[f"hit_{name}"] = fmean(hit for _, part in outcomes for hit in part)
    return scores


def build_repository(objective: Objective, knowledge: Sequence[Ids]) -> PromptRepository:
    """A repository that holds the edits of all knowledge rows."""
    network, device = objective.network, objective.lm.device
    repository = PromptRepository(
        network.sentinel_key(),
        prompt_length=objective.hparams.prompt_length,
        hidden_size=objective.lm.hidden_size,
    )
    for start in range(0, len(knowledge), _CHUNK):
        ids, mask = objective.batcher.pad(knowledge[start : start + _CHUNK], device)
        keys = network.knowledge(network.pooled(ids, mask))
        repository.append(keys, network.prompts(keys))
    return repository


def _chunks(owned: Sequence[tuple[int, Row]]) -> Iterator[Sequence[tuple[int, Row]]]:
    for start in range(0, len(owned), _CHUNK):
        yield owned[start : start + _CHUNK]


def _score(
    objective: Objective,
    repository: PromptRepository,
    owned: Sequence[tuple[int, Row]],
    keeps: bool,
) -> tuple[list[float], list[float]]:
    """(token accuracy, right retrieval) of each row; `keeps` for rows that edits must not touch."""
    lm, hparams = objective.lm, objective.hparams
    ids, mask = objective.batcher.pad([row.query for _, row in owned], lm.device)
    retrieved = repository.retrieve(objective.network.queries(objective.network.pooled(ids, mask)))
    tokens = objective.tokens([(row.prompt, row.target) for _, row in owned])
    wanted = lm.target_logits(tokens).argmax(-1) if keeps else tokens.labels
    with prefixed(
        lm,
        repository.prompts[retrieved],
        retrieved > 0,
        inject=hparams.inject,
        positions=hparams.positions,
    ):
        right = lm.target_logits(tokens).argmax(-1) == wanted
    own = torch.tensor([0 if keeps else i + 1 for i, _ in owned], device=lm.device)
    return _by_row(right, tokens), (retrieved == own).float().tolist()


def _by_row(right: Tensor, tokens: TokenBatch) -> list[float]:
    """Mean over each row's target tokens."""
    counts = [len(target) for target in tokens.target_ids]
    return [float(part.float().mean()) for part in right.split(counts)]

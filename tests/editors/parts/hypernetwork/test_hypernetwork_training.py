"""What hypernetworks train on: systems, chunks, micro-batches, losses of rows."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from bench.checks.contract.tiny import HIDDEN, INNER, REQUESTS, SAMPLES, tiny_llama
from editors.parts.deltas import EditedWeights, WeightDelta
from editors.parts.hypernetwork.networks import DenseShift, projections_of, request_rows
from editors.parts.hypernetwork.training import (
    MetaBatch,
    Positions,
    accuracies,
    answer_nll,
    locality_kl,
)
from editors.parts.language_model import LanguageModel
from editors.parts.training.examples import ProbeSampler, examples_of


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_llama()


@pytest.fixture(scope="module")
def shifts(lm: LanguageModel) -> dict[str, DenseShift]:
    """A change of the middle block that is felt."""
    (projection,) = projections_of(lm, (1,), inputs=False)
    values = torch.randn(1, INNER, HIDDEN, generator=torch.Generator().manual_seed(3))
    return {projection.path: DenseShift(values)}


def numbered(systems: int, n_edits: int) -> MetaBatch:
    rows = [([number], [number]) for number in range(systems * n_edits)]
    return MetaBatch(rows, rows, rows, systems)


def first_ids(batch: MetaBatch) -> list[int]:
    return [prompt[0] for prompt, _ in batch.edits]


def test_chunks_are_whole_systems() -> None:
    parts = [*numbered(3, 2).chunks(2)]
    assert [first_ids(part) for part in parts] == [[0, 1, 2, 3], [4, 5]]
    assert [(part.systems, part.n_edits) for part in parts] == [(2, 2), (1, 2)]


def test_micro_batches_take_edits_of_every_system() -> None:
    parts = [*numbered(2, 3).micro_batches(2)]
    assert [first_ids(part) for part in parts] == [[0, 1, 3, 4], [2, 5]]
    assert [part.systems for part in parts] == [2, 2]


def test_samples_become_rows(lm: LanguageModel) -> None:
    examples = examples_of(SAMPLES, lm.tokenizer)
    batch = MetaBatch.of(ProbeSampler({"tiny": examples}, seed=0).probes(examples), systems=2)
    assert list(batch.edits) == request_rows(REQUESTS, lm.tokenizer)
    decode = lm.tokenizer.decode
    assert decode(list(batch.rephrases[1][0])) == f"<s>It is said: {REQUESTS[1].prompt}"
    assert decode(list(batch.unrelated[1][1])) == " blue"
    assert batch.n_edits == 2


def test_answers_are_scored_by_system(lm: LanguageModel, shifts: dict[str, DenseShift]) -> None:
    rows = request_rows(REQUESTS[:2], lm.tokenizer)
    alone = []
    for row in rows:
        batch = lm.batch_of_pairs([row])
        alone.append(functional.cross_entropy(lm.target_logits(batch), batch.labels))
    torch.testing.assert_close(answer_nll(lm, rows, {}, systems=2), alone[0] + alone[1])
    batch = lm.batch_of_pairs(rows)
    pooled = functional.cross_entropy(lm.target_logits(batch), batch.labels)
    torch.testing.assert_close(answer_nll(lm, rows, {}, systems=1), pooled)
    assert not torch.isclose(answer_nll(lm, rows, shifts, systems=1), pooled, atol=0.1)


@pytest.mark.parametrize("where", ["all", "answer"])
def test_locality_is_the_divergence_from_the_unedited_model(
    where: Positions, lm: LanguageModel, shifts: dict[str, DenseShift]
) -> None:
    rows = request_rows(REQUESTS[:2], lm.tokenizer)
    assert float(locality_kl(lm, rows, {}, 2, where)) == pytest.approx(0, abs=1e-6)
    (path,) = shifts
    twice = {path: DenseShift(shifts[path].values.expand(2, -1, -1))}
    together = locality_kl(lm, rows, twice, 2, where)
    alone = torch.stack([locality_kl(lm, [row], shifts, 1, where) for row in rows]).sum()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    prompt, target = rows[0]
    before = lm.logits(lm.batch_of_pairs([rows[0]]))[0].double().softmax(-1)
    weights = EditedWeights(lm.model)
    weights.add([WeightDelta(f"{path}.weight", shifts[path].values[0].mT)])
    after = lm.logits(lm.batch_of_pairs([rows[0]]))[0].double().softmax(-1)
    weights.restore()
    divergences = (before * (before / after).log()).sum(-1)
    start = 0 if where == "all" else len(prompt) - 1
    assert len(divergences) == len(prompt) + len(target) - 1
    actual = locality_kl(lm, [rows[0]], shifts, 1, where)
    assert float(actual) == pytest.approx(float(divergences[start:].mean()), rel=1e-3)


def test_accuracies_are_shares_of_each_rows_tokens(
    lm: LanguageModel, shifts: dict[str, DenseShift]
) -> None:
    row = request_rows(REQUESTS[:1], lm.tokenizer)[0]
    best = lm.target_logits(lm.batch_of_pairs([row])).argmax(-1).tolist()
    right = (row[0], [*row[1][:-1], best[-1]])  # the last token is what the model says itself
    batch = MetaBatch([right], [row], [right], systems=1)
    actual = accuracies(lm, batch, {})
    share = 1 / len(best)
    expected = sum(a == b for a, b in zip(row[1], best, strict=True)) * share
    assert actual["generality"] == [pytest.approx(expected)]
    assert actual["reliability"][0] >= share
    assert actual["locality"] == [1.0]
    assert accuracies(lm, batch, shifts)["locality"][0] < 1

"""RECIPE's loss terms against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
from math import log

import pytest
import torch
from torch import Tensor

from editors.parts.recipe.hparams import PAPER, PAPER_LOSSES, RecipeHparams
from editors.parts.recipe.losses import (
    Representations,
    Terms,
    contested,
    contrastive_terms,
    hinged_nll,
    kl_divergence,
    negative_log,
)


def logits_of(*rows: list[float]) -> Tensor:
    """Logits whose softmax is the given probabilities."""
    return torch.tensor(rows).log()


LOGITS = logits_of([0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.4, 0.35, 0.25])
LABELS = torch.tensor([0, 1, 0])


def test_a_token_is_contested_until_it_wins_by_the_hinge() -> None:
    assert contested(LOGITS, LABELS, 1.2).tolist() == [False, True, True]  # 0.5 >= 1.2 x 0.3
    assert contested(LOGITS, LABELS, 1.1).tolist() == [False, True, False]  # 0.4 >= 1.1 x 0.35
    assert contested(LOGITS, LABELS, None).tolist() == [True, True, True]
    alone = logits_of([1.0]), torch.tensor([0])  # without a rival it has won
    assert [contested(*alone, hinge).tolist() for hinge in (1.2, None)] == [[False], [True]]


def test_one_edit_alone_has_terms_of_every_kind() -> None:
    """As the last batch of a held-out pool may have."""
    alone = Representations(*(part[:1] for part in dataclasses.astuple(representations())))
    hinged = contrastive_terms(alone, torch.tensor([False]), plain(contrastive_hinge=1.2))
    assert float(hinged[1]) == 0
    assert torch.stack(hinged).isfinite().all()


def test_hinged_likelihood_is_a_mean_over_contested_tokens_or_a_sum_per_answer() -> None:
    contested_sum = -log(0.3) - log(0.4)
    mean = hinged_nll(LOGITS, LABELS, hinge=1.2, eps=0.0)
    assert float(mean) == pytest.approx(contested_sum / 2)
    total = hinged_nll(LOGITS, LABELS, hinge=None, eps=0.0, reduction="seq_sum", rows=2)
    assert float(total) == pytest.approx((contested_sum - log(0.5)) / 2)


def test_eps_bounds_the_loss_of_an_impossible_label() -> None:
    impossible = torch.tensor([[0.0, -200.0]])
    label = torch.tensor([1])
    assert float(negative_log(impossible, label, 1e-8)) == pytest.approx(-log(1e-8))
    assert float(negative_log(impossible, label, 0.0)) == pytest.approx(200)


def test_divergence_by_hand() -> None:
    reference, other = logits_of([0.5, 0.5], [0.25, 0.75]), logits_of([0.9, 0.1], [0.25, 0.75])
    total = 0.5 * log(0.5 / 0.9) + 0.5 * log(0.5 / 0.1)
    assert float(kl_divergence(reference, other)) == pytest.approx(total / 2)
    by_answer = kl_divergence(reference, other, reduction="seq_sum", rows=1)
    assert float(by_answer) == pytest.approx(total)


def representations() -> Representations:
    """Two samples in two dimensions, so that every score is a small whole number."""
    return Representations(
        keys=torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        sentinel=torch.tensor([[1.0, 1.0]]),
        reliability=torch.tensor([[2.0, 0.0], [0.0, 1.0]]),
        generality=torch.tensor([[1.0, 0.0], [0.0, 3.0]]),
        locality=torch.tensor([[1.0, 1.0], [-1.0, -1.0]]),
    )


def nll(scores: list[float], label: int) -> float:
    """-log softmax, by hand."""
    return float(-torch.tensor(scores, dtype=torch.float32).log_softmax(0)[label])


def plain(**changes: object) -> RecipeHparams:
    """The released form without scale, hinge and eps."""
    free = {"sim": "plain", "contrastive_hinge": None, "eps": 0.0}
    return RecipeHparams.from_dict(PAPER.to_dict() | free | changes)


def test_paper_contrastive_terms_use_both_edit_queries_in_both() -> None:
    unused = torch.zeros(2, dtype=torch.bool)
    neighbour, edit, _ = contrastive_terms(representations(), unused, PAPER_LOSSES)
    own = [nll([2, 0, 2], 0), nll([0, 1, 1], 1), nll([1, 0, 1], 0), nll([0, 3, 3], 1)]
    removed = [nll([2, 0], 0), nll([0, 1], 1), nll([1, 0], 0), nll([0, 3], 1)]
    assert float(neighbour) == pytest.approx(sum(own) / 2)
    assert float(edit) == pytest.approx(sum(removed) / 2)


def test_the_hinge_drops_rows_that_the_sentinel_wins_and_never_touches_the_first_term() -> None:
    first = torch.tensor([False, False])
    free, _, _ = contrastive_terms(representations(), first, plain())
    hinged = contrastive_terms(representations(), first, plain(contrastive_hinge=1.2))
    neighbour, edit, locality = hinged
    assert float(neighbour) == float(free)
    # Locality: sample 0 wins by e; sample 1 loses and stays.
    assert float(locality) == pytest.approx(nll([-1, -1, -2], 2))
    assert float(edit) == 0


def test_without_a_sentinel_each_query_finds_its_key_before_other_keys_and_locality_queries() -> (
    None
):
    first = torch.tensor([True, False])  # plays no part
    terms = contrastive_terms(representations(), first, plain(gate="threshold"))
    neighbour, edit, locality = terms
    # Own scores with both keys, then those of both locality queries with the own key.
    reliability = [nll([2, 0, 1, -1], 0), nll([0, 1, 1, -1], 1)]
    generality = [nll([1, 0, 1, -1], 0), nll([0, 3, 1, -1], 1)]
    assert float(neighbour) == pytest.approx(sum(reliability + generality) / 2)
    assert float(edit) == float(locality) == 0


def test_without_a_sentinel_training_takes_locality_queries_away_from_the_keys() -> None:
    reps = representations()
    query = reps.locality.clone().requires_grad_()
    moved = dataclasses.replace(reps, locality=query)
    terms = contrastive_terms(moved, torch.zeros(2).bool(), plain(gate="threshold"))
    (gradient,) = torch.autograd.grad(terms[0], query)
    assert bool(((gradient @ reps.keys.T) > 0).all())  # a step against it lowers every score


def test_the_similarity_factor_multiplies_scores() -> None:
    first = torch.tensor([True, False])
    width = representations().keys.shape[1]
    undone = plain(sim="scaled", similarity_factor=width**0.5)
    torch.testing.assert_close(
        contrastive_terms(representations(), first, undone),
        contrastive_terms(representations(), first, plain()),
    )


TERMS = Terms(*(torch.tensor(2.0**power) for power in range(6)))  # 1, 2 | 4 | 8, 16, 32


@pytest.mark.parametrize(
    ("schedule", "total"),
    [("joint", 3 + 0.5 * 60), ("staged", 3 + 0.5 * 60), ("late_locality", 3 + 56 + 0.5 * 4)],
)
def test_a_ramp_holds_back_what_its_schedule_names(schedule: str, total: float) -> None:
    hparams = type(PAPER).from_dict(PAPER.to_dict() | {"schedule": schedule})
    assert float(TERMS.total(hparams, 0.5)) == total
    assert float(TERMS.total(hparams)) == 63


def test_weights_multiply_their_terms() -> None:
    hparams = dataclasses.replace(PAPER, weight_locality=10.0, weight_contrastive=0.0)
    assert float(TERMS.total(hparams)) == 3 + 40

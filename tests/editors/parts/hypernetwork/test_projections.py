"""Gradient factors, the orientation of weight changes on every kind of weight, networks by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from bench.checks.contract.tiny import HIDDEN, INNER, REQUESTS, TINY, batch_for, leftovers
from editors.malmen import MalmenEditor, MalmenHparams
from editors.mend import MendHparams
from editors.parts.deltas import EditedWeights
from editors.parts.hypernetwork.networks import (
    DenseShift,
    Hypernetwork,
    LowRankShift,
    Modulation,
    Projection,
    deltas_of,
    gradient_factors,
    group_means,
    projections_of,
    shifted,
)
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch


@pytest.fixture(params=TINY)
def lm(request: pytest.FixtureRequest) -> LanguageModel:
    return TINY[request.param]()


def rows(lm: LanguageModel, count: int = 2) -> TokenBatch:
    pairs = [(request.prompt, request.target) for request in REQUESTS[:count]]
    return batch_for(lm, pairs)


def autograd(lm: LanguageModel, projection: Projection, batch: TokenBatch) -> Tensor:
    """Gradient of the stored weight under the mean loss over target tokens."""
    weight = lm.module(projection.path).get_parameter("weight").requires_grad_(True)
    loss = functional.cross_entropy(lm.target_logits(batch), batch.labels)
    (gradient,) = torch.autograd.grad(loss, [weight])
    weight.requires_grad_(False)
    return gradient


def test_products_of_factors_are_the_stored_weights_gradients(lm: LanguageModel) -> None:
    batch = rows(lm)
    projections = projections_of(lm, (1, 2), inputs=True)
    factors = gradient_factors(lm, projections, batch, group_means(batch, 1))
    for projection in projections:
        actual = factors[projection.path]
        product = torch.einsum("bti,bto->io", actual.inputs, actual.gradients)
        (delta,) = deltas_of(lm, [projection], {projection.path: product})
        assert delta.name == f"{projection.path}.weight"
        wanted = autograd(lm, projection, batch)
        torch.testing.assert_close(delta.value, wanted, rtol=1e-4, atol=1e-6)
    assert leftovers(lm.model) == []


def test_positions_without_influence_do_not_matter(lm: LanguageModel) -> None:
    batch = rows(lm)
    lower, upper = (projections_of(lm, (layer,), inputs=False)[0] for layer in (1, 2))
    factors = gradient_factors(lm, [lower, upper], batch, group_means(batch, 1))
    real = batch.attention_mask.bool()
    assert not bool((factors[lower.path].matter & ~real).any())  # padding
    scored = torch.zeros_like(real)
    scored[batch.scored_positions] = True
    assert torch.equal(factors[upper.path].matter, scored)  # nothing attends above the last block


def test_projections_are_counted_by_shape(lm: LanguageModel) -> None:
    actual = projections_of(lm, (0, 2), inputs=True)
    n_in = len(lm.architecture.mlp_in)
    shapes = [(HIDDEN, INNER)] * n_in + [(INNER, HIDDEN)]
    assert [(p.d_in, p.d_out) for p in actual] == shapes * 2
    assert [p.index for p in actual] == [*range(n_in), 0, *range(n_in, 2 * n_in), 1]
    assert [p.path for p in projections_of(lm, (2,), inputs=False)] == [actual[-1].path]


def test_the_last_blocks_are_all_where_there_are_fewer(lm: LanguageModel) -> None:
    paths = [projection.path for projection in MalmenEditor.projections(lm, MalmenHparams())]
    assert paths == [lm.architecture.mlp_out.format(layer) for layer in range(3)]  # not 6
    with pytest.raises(ValueError, match=r"Layer 3 .* blocks 0 to 2"):
        projections_of(lm, (3,), inputs=True)


def test_groups_are_means_that_add_up() -> None:
    lm = TINY["llama"]()
    batch = rows(lm, 4)
    counts = [len(target) for target in batch.target_ids]
    joint, pairs = group_means(batch, 1), group_means(batch, 2)
    assert joint.tolist() == pytest.approx([1 / sum(counts)] * sum(counts))
    first = counts[0] + counts[1]
    assert pairs[:first].tolist() == pytest.approx([1 / first] * first)
    assert float(pairs.sum()) == pytest.approx(2)


def test_a_shifted_forward_is_that_of_changed_weights(lm: LanguageModel) -> None:
    batch = rows(lm)
    projections = projections_of(lm, (1, 2), inputs=True)
    draws = torch.Generator().manual_seed(1)
    shifts: dict[str, LowRankShift] = {}
    for p in projections:
        left = torch.randn(1, 3, p.d_in, generator=draws) / 4
        shifts[p.path] = LowRankShift(left, torch.randn(1, 3, p.d_out, generator=draws) / 4)
    matrices = {path: shift.matrices()[0] for path, shift in shifts.items()}
    with torch.no_grad():
        before = lm.target_logits(batch)
        with shifted(lm, shifts):
            low_rank = lm.target_logits(batch)
        with shifted(lm, {path: DenseShift(m[None]) for path, m in matrices.items()}):
            dense = lm.target_logits(batch)
        weights = EditedWeights(lm.model)
        weights.add(deltas_of(lm, projections, matrices))
        written = lm.target_logits(batch)
        weights.restore()
        assert torch.equal(lm.target_logits(batch), before)
    assert not torch.allclose(before, written, atol=0.1)
    torch.testing.assert_close(low_rank, written, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dense, written, rtol=1e-4, atol=1e-4)
    assert leftovers(lm.model) == []


def test_every_system_sees_its_own_shift(lm: LanguageModel) -> None:
    (projection,) = projections_of(lm, (1,), inputs=False)
    values = torch.randn(2, INNER, HIDDEN, generator=torch.Generator().manual_seed(2))
    batch = rows(lm, 4)  # two rows a system
    with torch.no_grad():
        with shifted(lm, {projection.path: DenseShift(values)}):
            together = lm.logits(batch)
        for system in range(2):
            own = {projection.path: DenseShift(values[system : system + 1])}
            with shifted(lm, own):
                alone = lm.logits(batch)
            part = slice(2 * system, 2 * system + 2)
            torch.testing.assert_close(together[part], alone[part], rtol=1e-4, atol=1e-4)


ROWS = torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]])


@pytest.mark.parametrize("modulation", ["before_clamp", "after_clamp"])
def test_a_new_network_normalises_and_can_learn(modulation: Modulation) -> None:
    projections = [Projection("a", 2, 1, 0), Projection("b", 1, 2, 0), Projection("c", 2, 1, 1)]
    with torch.random.fork_rng():
        hparams = MendHparams(rank=9, edit_rate=0.5)
        network = Hypernetwork(projections, hparams, modulation=modulation, eps=1e-7)
    assert network.edit_rates.tolist() == [0.5] * 3
    editor = network.network_of(projections[0])
    assert network.network_of(projections[2]) is editor
    assert network.network_of(projections[1]) is not editor
    assert editor.blocks[0].get_parameter("down").shape == (3, 3)  # no wider than the space
    editor.observe(ROWS, torch.tensor([[1.0], [2.0], [3.0]]))
    inputs, gradients = editor(ROWS[2:], torch.tensor([[3.0]]), 1)
    assert inputs[0].tolist() == pytest.approx([1, 4 / 12**0.5])
    assert gradients[0].tolist() == pytest.approx([1])
    gradients.sum().backward()
    up = editor.blocks[0].get_parameter("up")
    assert up.grad is not None  # although all of `up` is 0
    assert bool(up.grad.any())

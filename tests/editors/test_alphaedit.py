from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import INNER, REQUESTS, tiny_llama
from editors.alphaedit import AlphaEditEditor, AlphaEditHparams, NullSpace, ridge
from editors.base import Resources
from editors.parts.target_value import TargetRows

# Half of the directions have energy.
HALF = torch.diag(torch.tensor([1.0] * (INNER // 2) + [1e-3] * (INNER // 2)))
HPARAMS = AlphaEditHparams(layers=(0, 2), v_num_grad_steps=3, L2=0.1)


def editor_of(**changes: Any) -> AlphaEditEditor:
    resources = Resources(covariance=lambda _: HALF, templates=("{}", "So. {}"))
    return AlphaEditEditor(tiny_llama(), dataclasses.replace(HPARAMS, **changes), resources)


def test_a_threshold_below_all_energy_is_refused() -> None:
    with pytest.raises(ValueError, match="layer 0 have no direction below the threshold"):
        editor_of(nullspace_threshold=1e-4)


def test_directions_that_too_little_text_leaves_out_are_no_null_space() -> None:
    keys = torch.randn(INNER // 2, INNER, generator=torch.Generator().manual_seed(0))
    resources = Resources(covariance=lambda _: keys.T @ keys, templates=("{}",))
    with pytest.raises(ValueError, match=r"layer 0 cannot be inverted.*over more text"):
        AlphaEditEditor(tiny_llama(), HPARAMS, resources)


def test_weights_move_in_the_null_space_alone() -> None:
    editor = editor_of()
    name = editor.lm.architecture.mlp_out.format(0) + ".weight"
    before = editor.lm.model.get_parameter(name).detach().clone()
    editor.edit(REQUESTS[:2])
    moved = editor.lm.model.get_parameter(name).detach() - before
    assert float(moved[:, : INNER // 2].abs().max()) < 1e-6
    assert float(moved[:, INNER // 2 :].abs().max()) > 1e-3


def test_keys_are_remembered_once_written_and_spared_by_later_edits() -> None:
    editor = editor_of(L2=1e-6)
    editor.compute(REQUESTS[:1])
    assert editor.state_dict() == {}
    update = editor.compute(REQUESTS[:1])
    editor.edit(REQUESTS[:1])
    keys = editor.state_dict()["past_keys.0"]
    expected = editor.spaces[0].project(update.insertions[0].keys.T).T.float()
    torch.testing.assert_close(keys, expected)
    later = editor.compute(REQUESTS[1:2]).insertions[0]
    moved = later.residual @ later.adjusted.T @ keys.T.double()
    assert float(moved.norm()) < 1e-2 * float(later.residual.norm())
    editor.edit(REQUESTS[1:3])
    assert editor.state_dict()["past_keys.2"].shape == (3, INNER)
    editor.reset()
    assert editor.state_dict() == {}


def test_one_batch_is_its_edits_one_after_another_for_the_same_targets() -> None:
    """In one layer, and with keys of the bare prompts, whose outputs are wanted."""
    resources = Resources(covariance=lambda _: HALF, templates=("{}",))
    hparams = dataclasses.replace(HPARAMS, layers=(1,))
    batch, single = (AlphaEditEditor(tiny_llama(), hparams, resources) for _ in range(2))
    together = batch.compute(REQUESTS[:3])
    batch.insert(together)
    for request, target in zip(REQUESTS[:3], together.targets, strict=True):
        rows = TargetRows.of(single.lm, [request], single.resources.templates)
        single.insert(single.spread([rows], [target]))
    name = single.lm.architecture.mlp_out.format(1) + ".weight"
    torch.testing.assert_close(
        single.lm.model.get_parameter(name), batch.lm.model.get_parameter(name)
    )


BASIS = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).double())[0]
SPECTRUM = torch.tensor([0.001, 0.01, 0.3, 1.0, 2.0, 5.0]).double()
MOMENT = BASIS * SPECTRUM @ BASIS.T


@pytest.mark.parametrize(("threshold", "rank"), [(0.005, 1), (0.02, 2), (1.5, 4), (9.0, 6)])
def test_it_holds_the_directions_below_the_threshold(threshold: float, rank: int) -> None:
    """Whether stored by its own basis or by that of the others."""
    space = NullSpace.of(MOMENT, threshold)
    assert space.rank == rank
    assert space.complement == (rank > 3)
    assert space.basis.shape[1] == min(rank, 6 - rank)
    wanted = BASIS[:, :rank] @ BASIS[:, :rank].T
    torch.testing.assert_close(space.project(torch.eye(6)), wanted)


@pytest.mark.parametrize("earlier", [0, 2, 9])
def test_the_ridge_is_the_originals_dense_system(earlier: int) -> None:
    """With few keys and with more keys than dimensions."""
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn(6, earlier + 2, generator=generator).double()
    past, keys = raw[:, :earlier], raw[:, earlier:]
    space, weight = NullSpace.of(MOMENT, 0.5), 0.7
    projection = space.project(torch.eye(6))
    system = projection @ (keys @ keys.T + past @ past.T) + weight * torch.eye(6)
    wanted = torch.linalg.solve(system, projection @ keys)
    actual = ridge(space.project(past), space.project(keys), weight)
    torch.testing.assert_close(actual, wanted)

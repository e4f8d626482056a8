from __future__ import annotations

import pytest
import torch

from editors.parts.null_space import NullSpace, ridge

BASIS = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0)).double())[0]
SPECTRUM = torch.tensor([0.001, 0.01, 0.3, 1.0, 2.0, 5.0]).double()
MOMENT = BASIS * SPECTRUM @ BASIS.T


@pytest.mark.parametrize(("threshold", "rank"), [(0.005, 1), (0.02, 2), (1.5, 4), (9.0, 6)])
def test_it_holds_the_directions_below_the_threshold(threshold: float, rank: int) -> None:
    """Whether it is kept by its own basis or by that of the others."""
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
    found = ridge(space.project(past), space.project(keys), weight)
    torch.testing.assert_close(found, wanted)


def test_a_small_ridge_reaches_new_keys_and_leaves_past_ones() -> None:
    past, key = torch.eye(4)[:, :1].double(), torch.eye(4)[:, 1:2].double()
    update = ridge(past, key, 1e-9)  # [m, n]: outputs move by update.T @ key
    torch.testing.assert_close(update.T @ key, torch.ones(1, 1).double())
    torch.testing.assert_close(update.T @ past, torch.zeros(1, 1).double())

"""Editor networks by hand: statistics, blocks, what they are at the start."""

from __future__ import annotations

import pytest
import torch

from editors.mend import MendHparams
from editors.parts.hypernetwork.networks import Hypernetwork, Modulation, Projection

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

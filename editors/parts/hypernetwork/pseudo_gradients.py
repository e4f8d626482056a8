"""MEND's weight shifts: outer products of pseudo-factors, times a learned rate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from editors.parts.hypernetwork.examples import Row, token_batch
from editors.parts.hypernetwork.network import Hypernetwork
from editors.parts.hypernetwork.projections import Factors, gradient_factors, group_means
from editors.parts.hypernetwork.shifts import LowRankShift
from editors.parts.language_model import LanguageModel


def pseudo_gradient_shift(
    network: Hypernetwork, number: int, factors: Factors, systems: int
) -> tuple[LowRankShift, Tensor, Tensor]:
    """The change of projection `number`, and the pseudo-factors [N, d_in], [N, d_out] in it.

    Rows of the factors belong to the systems in order, as many to each. Positions without
    influence are left out. In training mode the running statistics first take in the rows.
    """
    projection = network.projections[number]
    editor = network.network_of(projection)
    matter = factors.matter.nonzero(as_tuple=True)
    inputs, gradients = factors.inputs[matter], factors.gradients[matter]
    if network.training:
        editor.observe(inputs, gradients)
    pseudo_inputs, pseudo_gradients = editor(inputs, gradients, projection.index)
    left = torch.zeros_like(factors.inputs)
    right = torch.zeros_like(factors.gradients)
    left[matter] = pseudo_inputs
    right[matter] = network.edit_rates[number] * pseudo_gradients
    shift = LowRankShift(
        left.reshape(systems, -1, projection.d_in), right.reshape(systems, -1, projection.d_out)
    )
    return shift, pseudo_inputs, pseudo_gradients


def pseudo_gradient_shifts(
    lm: LanguageModel, network: Hypernetwork, edits: Sequence[Row], systems: int
) -> dict[str, LowRankShift]:
    """Changes of all projections for the edits of each system, one loss over a system's tokens.

    The gradient reaches the network through the pseudo-factors; the factors are constants.
    """
    batch = token_batch(lm, edits)
    factors = gradient_factors(lm, network.projections, batch, group_means(batch, systems))
    shifts = {}
    for number, path in enumerate(projection.path for projection in network.projections):
        shifts[path], _, _ = pseudo_gradient_shift(network, number, factors[path], systems)
    return shifts

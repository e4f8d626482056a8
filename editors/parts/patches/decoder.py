"""One neuron for an edit of a decoder: T-Patcher as the authors of RECIPE run it.

Written after the public implementation qizhou000/UniEdit (editor `tp`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.parts.patches.last_block import LastBlock
from editors.parts.patches.losses import reply_loss, silence_loss
from editors.parts.patches.neurons import Neurons


@dataclass(frozen=True)
class TrainedNeurons:
    """New neurons and the loss before each step."""

    neurons: Neurons
    losses: tuple[float, ...]


def decoder_loss(
    scene: LastBlock, neuron: Neurons, memory: Tensor, *, activation: float, silence: float
) -> Tensor:
    """Edit loss + `activation` x reply at all positions of the edit + `silence` x reply elsewhere.

    Args:
        scene: the edited row.
        neuron: a single one.
        memory: MLP inputs [T, d] of an unrelated text.
        activation: weight, lambda_a.
        silence: weight, lambda_m.
    """
    reply = reply_loss(neuron.responses(scene.inputs))
    quiet = silence_loss(neuron.responses(memory))
    return scene.target_loss(neuron) + activation * reply + silence * quiet


@torch.enable_grad()
def train_decoder_neuron(
    scene: LastBlock,
    neuron: Neurons,
    memories: Sequence[Tensor],
    *,
    lr: float,
    weight_decay: float,
    activation: float,
    silence: float,
) -> TrainedNeurons:
    """One Adam step for each memory text's MLP inputs [T, d]; `neuron` holds the initial values.

    Initial zeros are a saddle: at first only the activation term moves the keys.
    """
    trained = Neurons(*(part.clone().requires_grad_() for part in vars(neuron).values()))
    optimizer = torch.optim.Adam(vars(trained).values(), lr=lr, weight_decay=weight_decay)
    losses = []
    for memory in memories:
        loss = decoder_loss(scene, trained, memory, activation=activation, silence=silence)
        losses.append(loss.detach())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return TrainedNeurons(
        Neurons(*(part.detach() for part in vars(trained).values())),
        tuple(torch.stack(losses).tolist() if losses else ()),
    )

"""How RASE's heads are trained: steps, and the gates calibrated at each checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from editors.parts.randomness import GeneratorScope
from editors.parts.rase.examples import Example, TextSampler
from editors.parts.rase.held_out import HeldOut, calibrate, encoded, held_out_loss, rates
from editors.parts.rase.hparams import RaseHparams
from editors.parts.rase.losses import rase_terms
from editors.parts.rase.network import RaseNetwork
from editors.parts.rase.retriever import KnownVectors, Vectorise

_SHOWN = ("reliability", "generality", "locality")


class RaseLearner:
    """Changes a RASE network step by step; a `Learner` of the training loop."""

    def __init__(
        self,
        vectors: Vectorise,
        network: RaseNetwork,
        training: Mapping[str, Sequence[Example]],
        held_out: Mapping[str, Sequence[Example]],
        hparams: RaseHparams,
        seed: int,
    ) -> None:
        texts = (t for pool in training.values() for example in pool for t in example.texts)
        self.vectors = KnownVectors(vectors, texts)
        self.network = network
        self.hparams = hparams
        self.held_out = {name: HeldOut.of(vectors, pool) for name, pool in held_out.items()}
        self.sampler = TextSampler(training, hparams, seed)
        self.dropout = GeneratorScope(seed, network.gates.device)
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(
            network.parameters(), lr=hparams.learning_rate
        )

    def step(self, iteration: int) -> dict[str, float]:
        """One optimiser step; returns the loss and its terms."""
        batch = encoded(self.vectors, self.sampler.draw())
        self.network.train()
        with self.dropout.active():
            terms = rase_terms(self.network, batch, self.hparams)
        loss = terms.total()
        progress = iteration / self.hparams.iterations
        for group in self.optimiser.param_groups:
            group["lr"] = self.hparams.learning_rate * (1 + math.cos(math.pi * progress)) / 2
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return {"loss": loss.item(), **terms.floats()}

    def evaluate(self) -> dict[str, float]:
        """Held-out loss and rates of the present weights, with newly calibrated gates."""
        calibrate(self.network, self.held_out)
        loss = held_out_loss(self.network, self.held_out.values(), self.hparams)
        found = {"held_out_loss": loss}
        for name, scores in self.validation().items():
            found |= {f"{name}.{kind}": scores[kind] for kind in _SHOWN}
        return found

    def validation(self) -> dict[str, dict[str, float]]:
        """Rates of each data set."""
        return {name: rates(self.network, pool) for name, pool in self.held_out.items()}

    def draws(self) -> dict[str, Tensor]:
        """States of the sampler and of dropout."""
        return {**self.sampler.state_dict(), "dropout": self.dropout.state}

    def set_draws(self, state: Mapping[str, Tensor]) -> None:
        """Continue where `draws` was taken."""
        self.dropout.state = state["dropout"]
        self.sampler.load_state_dict(state)

"""What trained editors share: a task of training with hooks, an editor around its artefact."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn

from editors.base import EditSample, HparamsT, Resources, TrainableEditor
from editors.parts.artefact import (
    artefact_path,
    backbone_facts,
    check_fits,
    data_facts,
    read_artefact,
    required_artefact,
)
from editors.parts.language_model import LanguageModel
from editors.parts.training.examples import PoolSampler
from editors.parts.training.loop import (
    Learner,
    LoopSettings,
    Progress,
    trained_artefact,
    untrained_artefact,
)

HELD_OUT_SEED = 0  # the held-out loss draws the same probes at every checkpoint

Samples = Mapping[str, Sequence[EditSample]]  # by data set
PoolT = TypeVar("PoolT")  # held-out examples of one data set


@dataclass(frozen=True, kw_only=True)
class Training:
    """How an editor's weights come about: what is trained, for what, and how it is stored."""

    key: str  # of the editor, in names of artefacts
    hparams: Mapping[str, Any]  # hyper-parameters that the weights depend on
    model_hparams: tuple[str, ...] = ()  # those that they depend on in use, not in training alone
    facts: Mapping[str, Any]  # what they depend on in use beside the backbone: a digest, ..
    learner: Callable[[Samples], Learner]
    initial_weights: Callable[[], Mapping[str, Tensor]]  # of the right shapes, without training
    loop: LoopSettings
    dtype: str = "float32"  # on disk, or `float16`
    format: int = 1  # raised when older files can no longer be read

    def identity(self, lm: LanguageModel) -> dict[str, Any]:
        """All that the weights depend on but seed and data."""
        return {
            "editor": self.key,
            "format": self.format,
            "hparams": self.hparams,
            **backbone_facts(lm),
            **self.facts,
        }

    def run(
        self, lm: LanguageModel, samples: Samples, seed: int, out: Path
    ) -> tuple[Path, dict[str, Any]]:
        """Where a training on these samples is stored, and all that its weights depend on."""
        identity = self.identity(lm) | {"seed": seed, "data": data_facts(samples)}
        return artefact_path(out, self.key, lm.name, list(samples)), identity


class TrainedEditor(TrainableEditor[HparamsT]):
    """An editor whose weights are trained as its `training` says, and stored in an artefact."""

    @classmethod
    @abstractmethod
    def training(cls, lm: LanguageModel, hparams: HparamsT, resources: Resources) -> Training:
        """How the weights come about."""

    @classmethod
    def fit(
        cls,
        lm: LanguageModel,
        samples: Samples,
        hparams: HparamsT,
        resources: Resources,
        *,
        out: Path,
        progress: Progress | None = None,
    ) -> Path:
        """See the base class.

        Samples without a generality or without a locality probe cannot train. The seed is that of
        initial weights, held-out choice and all draws.

        Raises:
            ValueError: too few usable samples, or the artefact or checkpoint of another run is
                there.
        """
        training = cls.training(lm, hparams, resources)
        return trained_artefact(
            *training.run(lm, samples, resources.seed, out),
            lambda: training.learner(samples),
            training.loop,
            dtype=training.dtype,
            progress=progress,
        )

    @classmethod
    def untrained(
        cls, lm: LanguageModel, hparams: HparamsT, resources: Resources, *, out: Path
    ) -> Path:
        training = cls.training(lm, hparams, resources)
        return untrained_artefact(
            artefact_path(out, training.key, lm.name, []),
            training.initial_weights(),
            training.identity(lm) | {"seed": resources.seed},
            dtype=training.dtype,
        )

    def trained_weights(self) -> dict[str, Tensor]:
        """The weights of the artefact that the resources name.

        Raises:
            FileNotFoundError: the artefact does not exist.
            ValueError: it is not given, or was trained for something else; the sentence says what.
        """
        training = self.training(self.lm, self.hparams, self.resources)
        path = required_artefact(self.resources, key=training.key, label=self.label)
        tensors, header = read_artefact(path)
        facts = ("editor", "format", *training.facts)
        identity = training.identity(self.lm)
        check_fits(path, header, identity, facts=facts, hparams=training.model_hparams)
        return tensors


class GeneratorScope:
    """A private stream for code that can only draw from the global generator, such as dropout.

    Inside `with scope.active():` the global generator of the device continues this stream; outside
    it is untouched. The state can be saved and continued.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.device = device
        self.state = torch.Generator(device).manual_seed(seed).get_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        on_gpu = self.device.type == "cuda"
        with torch.random.fork_rng(devices=[self.device] if on_gpu else []):
            if on_gpu:
                torch.cuda.set_rng_state(self.state, self.device)
            else:
                torch.set_rng_state(self.state)
            try:
                yield
            finally:
                own = torch.cuda.get_rng_state(self.device) if on_gpu else torch.get_rng_state()
                self.state = own


class TrainingTask(ABC, Generic[PoolT]):
    """A `Learner` of the training loop: Adam on the loss of drawn batches.

    Held-out examples, by data set, select a checkpoint and are scored. `rates` are (parameters,
    learning rate) of Adam, which has PyTorch's defaults otherwise.
    """

    logged: ClassVar[tuple[str, ...]]  # held-out scores that the history has of each checkpoint

    def __init__(
        self,
        network: nn.Module,
        sampler: PoolSampler[Any],
        held_out: Mapping[str, PoolT],
        *,
        rates: list[tuple[Any, float]],
        dropout: GeneratorScope | None = None,
    ) -> None:
        self.network = network
        self.held_out = held_out
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(
            [{"params": parameters, "lr": rate, "full_lr": rate} for parameters, rate in rates],
            fused=True,
        )
        self._sampler, self._dropout = sampler, dropout

    @abstractmethod
    def loss(self, iteration: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """The loss of the next batch, and its terms for the log, as scalars."""

    @abstractmethod
    def held_out_loss(self, pool: PoolT) -> float:
        """The loss of all held-out examples of a data set."""

    @abstractmethod
    def scores(self, pool: PoolT) -> dict[str, float]:
        """Scores after editing all held-out examples of a data set; `edits` counts them."""

    def rate_factor(self, iteration: int) -> float:
        """Factor of the learning rates at the step after `iteration` steps."""
        return 1.0

    def enter(self, *, training: bool) -> None:
        """Bring the network into the mode of a step, or of an evaluation."""
        self.network.train(training)

    def collect_gradients(self) -> None:
        """Called between the backward and the optimiser's step."""

    def calibrate(self) -> None:
        """Set what belongs to the weights without being trained, before an evaluation."""

    def step(self, iteration: int) -> dict[str, float]:
        self.enter(training=True)
        with nullcontext() if self._dropout is None else self._dropout.active():
            loss, terms = self.loss(iteration)
        for group in self.optimiser.param_groups:
            group["lr"] = group["full_lr"] * self.rate_factor(iteration)
        self.optimiser.zero_grad()
        loss.backward()
        self.collect_gradients()
        self.optimiser.step()
        return {"loss": loss.item(), **floats_of(terms)}

    def evaluate(self) -> dict[str, float]:
        """Held-out loss (the mean over data sets), and each data set's scores."""
        self.enter(training=False)
        self.calibrate()
        numbers = {"held_out_loss": fmean(map(self.held_out_loss, self.held_out.values()))}
        for name, scores in self.validation().items():
            numbers |= {f"{name}.{key}": scores[key] for key in self.logged}
        return numbers

    def validation(self) -> dict[str, dict[str, float]]:
        self.enter(training=False)
        return {name: self.scores(pool) for name, pool in self.held_out.items()}

    def draws(self) -> dict[str, Tensor]:
        """States of the sampler and of dropout."""
        dropout = {} if self._dropout is None else {"dropout": self._dropout.state}
        return self._sampler.state_dict() | dropout

    def set_draws(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `draws` returned."""
        if self._dropout is not None:
            self._dropout.state = state["dropout"]
        self._sampler.load_state_dict(state)


def cosine_decay(turn: float) -> float:
    """Falls from 1 to 0 while `turn` goes from 0 to pi."""
    return (1 + math.cos(turn)) / 2


def decayed(decay: Literal["none", "cosine"], iteration: int, iterations: int) -> float:
    """Factor of a learning rate at the step after `iteration` steps of `iterations`."""
    return 1.0 if decay == "none" else cosine_decay(math.pi * iteration / iterations)


def floats_of(scalars: Mapping[str, Tensor]) -> dict[str, float]:
    """Plain numbers of scalar tensors; a GPU is waited for once, not once for each."""
    return dict(zip(scalars, torch.stack([*scalars.values()]).tolist(), strict=True))

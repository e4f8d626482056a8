"""A small editor that meets the contract, and for each clause an editor that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from editors.base import EditRequest, Hparams, Resources, TrainableEditor
from editors.parts.deltas import WeightDelta, WeightEditor, thawed
from editors.parts.fast_paths import FastPaths
from editors.parts.hooks import OutputFunction, changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.retrieving import Candidate, Explanation
from editors.parts.tokens import TokenBatch, batch_of


@dataclass(frozen=True, kw_only=True)
class StepHparams(Hparams):
    lr: float = 0.02


class Sound(WeightEditor[StepHparams]):
    """One step along the sign of the gradient of the last MLP."""

    family: ClassVar[Literal["MP", "AP", "RB"]] = "MP"
    label: ClassVar[str] = "Step"
    hparams_class: ClassVar[type[Hparams]] = StepHparams
    presets: ClassVar[Mapping[str, Hparams]] = {"default": StepHparams()}

    def __init__(self, lm: LanguageModel, hparams: StepHparams, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        self.name = f"{lm.architecture.mlp_out.format(lm.n_layers - 1)}.weight"

    def edit(self, requests: Sequence[EditRequest]) -> None:
        for request in requests:
            self._weights.add([self.step(request)])

    @torch.enable_grad()
    def step(self, request: EditRequest) -> WeightDelta:
        pair = (request.prompt, request.target)
        batch = batch_of(self.lm.tokenizer, [pair], device=self.lm.device)
        with thawed(self.lm.model, [self.name]) as parameters:
            loss = cross_entropy(self.lm.target_logits(batch), batch.labels)
            (gradient,) = torch.autograd.grad(loss, parameters[self.name])
        return WeightDelta(self.name, -self.hparams.lr * gradient.sign())

    def steered(self, function: OutputFunction) -> AbstractContextManager[None]:
        """Change the final norm's output."""
        return changed_output(self.lm.module(self.lm.architecture.final_norm), function)

    def noise(self, size: float = 0.1) -> WeightDelta:
        weight = self.lm.model.get_parameter(self.name)
        generator = torch.Generator().manual_seed(len(self.name))
        drawn = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        return WeightDelta(self.name, size * drawn)


class NoFamily(Sound):
    family = "XX"  # type: ignore[assignment]


@dataclass(frozen=True, kw_only=True)
class AcceptsAnything(StepHparams):
    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(lr=values.get("lr", 0.02))


class LooseHparams(Sound):
    hparams_class = AcceptsAnything
    presets: ClassVar[Mapping[str, Hparams]] = {"default": AcceptsAnything()}


class EditsOnNothing(Sound):
    def edit(self, requests: Sequence[EditRequest]) -> None:
        super().edit(requests)
        self._weights.add([self.noise()])


class Unlearning(Sound):
    def step(self, request: EditRequest) -> WeightDelta:
        step = super().step(request)
        return WeightDelta(step.name, -step.value)


class Forgetful(Sound):
    def edit(self, requests: Sequence[EditRequest]) -> None:
        for request in requests:
            self.reset()
            super().edit([request])


class InexactReset(Sound):
    def reset(self) -> None:
        super().reset()
        with torch.no_grad():
            self.lm.model.get_parameter(self.name).add_(1e-6)


class ThawedByBadRequests(Sound):
    def edit(self, requests: Sequence[EditRequest]) -> None:
        weight = self.lm.model.get_parameter(self.name)
        for request in requests:
            weight.requires_grad_(True)
            target = request.target
            weight.requires_grad_(False)
            assert target
            super().edit([request])


class ThawedByFailingModels(Sound):
    @torch.enable_grad()
    def step(self, request: EditRequest) -> WeightDelta:
        weight = self.lm.model.get_parameter(self.name)
        pair = (request.prompt, request.target)
        batch = batch_of(self.lm.tokenizer, [pair], device=self.lm.device)
        weight.requires_grad_(True)
        loss = cross_entropy(self.lm.target_logits(batch), batch.labels)
        (gradient,) = torch.autograd.grad(loss, weight)
        weight.requires_grad_(False)
        return WeightDelta(self.name, -self.hparams.lr * gradient.sign())


class LeavesAHook(Sound):
    handle: Any = None

    def edit(self, requests: Sequence[EditRequest]) -> None:
        super().edit(requests)
        if requests:
            head = self.lm.module("lm_head")
            self.handle = self.handle or head.register_forward_hook(lambda *_: None)

    def reset(self) -> None:
        super().reset()
        if self.handle is not None:
            self.handle.remove()
            self.handle = None


class SteersOn(Sound):
    @contextmanager
    def steering(self, batch: TokenBatch) -> Iterator[None]:
        handle = self.lm.module("lm_head").register_forward_hook(lambda *_: None)
        yield
        handle.remove()


class DrawsGlobally(Sound):
    def edit(self, requests: Sequence[EditRequest]) -> None:
        for request in requests:
            step = self.step(request)
            self._weights.add([WeightDelta(step.name, step.value * torch.rand(()))])


class SeesTheBatch(Sound):
    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        return self.steered(lambda _, hidden: hidden * (1 + 0.1 * len(batch)))


class PreparesOneForAll(FastPaths, Sound):
    @property
    def edits_at_once(self) -> int:
        return 3

    def prepare(self, requests: Sequence[EditRequest]) -> Sequence[Callable[[], None]]:
        steps = [self.step(requests[0]) for _ in requests]
        return [lambda step=step: self._weights.add([step]) for step in steps]  # type: ignore[misc]


class LosesItsState(Sound):
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.reset()


class SteersPromptsAlone(Sound):
    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        return self.steered(lambda _, hidden: hidden if hidden.shape[1] > 1 else -hidden)


class DeclaresSteersAlike(FastPaths, Sound):
    @property
    def steers_alike(self) -> bool:
        return True

    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        return self.steered(lambda _, hidden: -hidden if any(batch.target_ids) else hidden)


@dataclass(frozen=True, kw_only=True)
class DeclaresStopping(StepHparams):
    @property
    def stops_early(self) -> bool:
        return True


class NeverStops(Sound):
    hparams_class = DeclaresStopping
    presets: ClassVar[Mapping[str, Hparams]] = {"default": DeclaresStopping()}


class OtherShapes(Sound, TrainableEditor[StepHparams]):
    @classmethod
    def fit(cls, *_: Any, out: Path, **__: Any) -> Path:
        return cls.written(out, 3)

    @classmethod
    def untrained(cls, *_: Any, out: Path) -> Path:
        return cls.written(out, 4)

    @classmethod
    def written(cls, out: Path, size: int) -> Path:
        out.mkdir(parents=True, exist_ok=True)
        save_file({"weight": torch.zeros(size)}, out / "weights.safetensors")
        return out / "weights.safetensors"


class AcceptsAnyModel(Sound):
    def __init__(self, lm: LanguageModel, hparams: StepHparams, resources: Resources) -> None:
        spread = type("Spread", (type(self),), {"spans_devices": True})
        own, self.__class__ = type(self), spread
        super().__init__(lm, hparams, resources)
        self.__class__ = own


class UndeclaredRetrieval(Sound):
    def steering(self, batch: TokenBatch) -> AbstractContextManager[None]:
        sizes = torch.tensor([[[1 + 0.1 * len(text)]] for text in batch.texts])
        return self.steered(lambda _, hidden: hidden * sizes)


class ExplainsWrongly(Sound):
    def explain(self, texts: Sequence[str]) -> Sequence[Explanation]:
        edit = Candidate(row=0, text="an edit", score=1.0)
        return [
            Explanation(measure="cosine", candidates=(edit,), limit=0.5, limit_is="limit", used=0)
            for _ in texts
        ]


# Clause -> what breaks it.
BROKEN: dict[str, type[Sound]] = {
    "names": NoFamily,
    "hparams": LooseHparams,
    "empty_edit": EditsOnNothing,
    "edit_raises_target": Unlearning,
    "edits_accumulate": Forgetful,
    "exact_reset": InexactReset,
    "reset_after_a_bad_request": ThawedByBadRequests,
    "reset_after_a_failing_model": ThawedByFailingModels,
    "no_leftovers": LeavesAHook,
    "steering_ends": SteersOn,
    "one_seed_one_result": DrawsGlobally,
    "batch_independence": SeesTheBatch,
    "short_window": SeesTheBatch,
    "prepared_together": PreparesOneForAll,
    "state_round_trip": LosesItsState,
    "decoding_is_teacher_forcing": SteersPromptsAlone,
    "decoding_after_a_target": DeclaresSteersAlike,
    "forced_ends": NeverStops,
    "untrained_weights": OtherShapes,
    "several_devices": AcceptsAnyModel,
    "retrieval_is_declared": UndeclaredRetrieval,
    "explanations_hold": ExplainsWrongly,
}

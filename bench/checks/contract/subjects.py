"""What clauses are told on: an editor of a tiny model, again and again, and its answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.checks.contract.tiny import CONTEXT, LAYERS, REQUESTS, SAMPLES, TINY
from bench.checks.contract.tiny_encoder import write_encoder
from bench.checks.contract.tuning import TUNING
from editors import registry
from editors.base import Editor, EditRequest, Hparams, Resources, TrainableEditor
from editors.parts.covariance import second_moments
from editors.parts.language_model import LanguageModel
from editors.parts.stopping import Stopping
from editors.parts.tokens import TokenBatch, batch_of

TEMPLATES = ("{}", "It rains. {}", "In the north they say. {}")
LONG_LINES = tuple(f"{letter} and then " * 6 + "some more words" for letter in "abcdefgh")
CORPUS = tuple(f"{r.prompt} {r.target}. {'abcdefghij'[i:]}" for i, r in enumerate(REQUESTS * 8))


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")


class InterruptedEditError(Exception):
    """Raised inside an edit by a clause."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An editor of one architecture, as the suite makes it again and again."""

    key: str
    architecture: str
    directory: Path = field(compare=False)  # for the artefacts

    def untrained(self) -> Editor[Any] | None:
        """A fresh editor with weights that were never trained; None where it has none."""
        cls = registry.editor_class(self.key)
        if not issubclass(cls, TrainableEditor):
            return None
        resources = _resources(self.architecture, self.directory, 0)
        lm, out = TINY[self.architecture](), self.directory / "untrained" / self.architecture
        artefact = cls.untrained(lm, tuned(self.key), resources, out=out)
        return cls(lm, tuned(self.key), _with_artefact(resources, artefact))

    def editor(
        self, *, seed: int = 0, dtype: torch.dtype | None = None, stopping: Stopping = "by_loss"
    ) -> Editor[Any]:
        """A fresh editor on a fresh model, of another dtype where one is named."""
        cls = registry.editor_class(self.key)
        resources = _resources(self.architecture, self.directory, seed)
        resources = dataclasses.replace(resources, stopping=stopping)
        artefact = None
        if issubclass(cls, TrainableEditor):
            artefact = _artefact(self.key, self.architecture, self.directory)
        lm = TINY[self.architecture]()
        if dtype is not None:
            model: Any = lm.model
            lm = LanguageModel(model.to(dtype), lm.tokenizer)
        return cls(lm, tuned(self.key), _with_artefact(resources, artefact))


def tuned(key: str) -> Hparams:
    """The preset for tiny models, else that for any model, with the suite's own changes."""
    cls = registry.editor_class(key)
    preset = cls.presets["tiny" if "tiny" in cls.presets else "default"]
    return cls.hparams_class.from_dict(preset.to_dict() | TUNING.get(key, {}))


@torch.no_grad()
def logits(editor: Editor[Any], pairs: Sequence[tuple[str, str]]) -> Tensor:
    """Logits [N, V] at the target positions of one batch, answered as edited."""
    batch = batch_of(editor.lm.tokenizer, pairs, device=editor.lm.device)
    with editor.steering(batch):
        return editor.lm.target_logits(batch)


def log_probability(editor: Editor[Any], request: EditRequest) -> float:
    """Mean log-probability of a request's target tokens."""
    scores = logits(editor, [(request.prompt, request.target)])
    labels = targets(editor.lm, request).labels
    return float(torch.log_softmax(scores, dim=-1).gather(1, labels[:, None]).mean())


def targets(lm: LanguageModel, request: EditRequest) -> TokenBatch:
    """A request's prompt with its target."""
    return batch_of(lm.tokenizer, [(request.prompt, request.target)], device=lm.device)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def leftovers(model: nn.Module) -> list[str]:
    """Modules with a hook or an overridden forward, and parameters that were left to be trained."""
    hooked = [
        name
        for name, module in model.named_modules()
        if any(vars(module).get(kind) for kind in _HOOKS) or "forward" in vars(module)
    ]
    thawed = [
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad or parameter.grad is not None
    ]
    return hooked + thawed + (["training mode"] if model.training else [])


@contextmanager
def counted_head(lm: LanguageModel) -> Iterator[list[nn.Module]]:
    """A list that grows with each call of the output head."""
    calls: list[nn.Module] = []
    handle = lm.module("lm_head").register_forward_pre_hook(lambda head, _: calls.append(head))
    try:
        yield calls
    finally:
        handle.remove()


@contextmanager
def interrupted_head(lm: LanguageModel, *, after: int) -> Iterator[None]:
    """Let the output head fail at its call number `after`."""
    calls = 0

    def fail(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise InterruptedEditError

    handle = lm.module("lm_head").register_forward_pre_hook(fail)
    try:
        yield
    finally:
        handle.remove()


@cache
def _resources(architecture: str, directory: Path, seed: int) -> Resources:
    lm = TINY[architecture]()
    moments = second_moments(lm, CORPUS, range(LAYERS), max_length=CONTEXT)
    encoder = directory / "encoder"
    if not encoder.exists():
        write_encoder(encoder)
    return Resources(
        covariance=lambda layer: moments[layer].matrix,
        templates=TEMPLATES,
        encoder=encoder,
        corpus=lambda: LONG_LINES,
        training=lambda: SAMPLES,
        seed=seed,
    )


@cache
def _artefact(key: str, architecture: str, directory: Path) -> Path:
    cls: Any = registry.editor_class(key)  # a trainable one
    path: Path = cls.fit(
        TINY[architecture](),
        {"tiny": SAMPLES[:2] * 6},
        tuned(key),
        _resources(architecture, directory, 0),
        out=directory / architecture,
    )
    return path


def _with_artefact(resources: Resources, artefact: Path | None) -> Resources:
    return dataclasses.replace(resources, artefact=artefact)

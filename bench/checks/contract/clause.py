"""What a clause is, and how it says what it found.

A clause returns where it holds and raises `BrokenClauseError` where it does not. Whatever else an
editor raises breaks a clause too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from bench.checks.contract.subjects import Subject, leftovers, logits, weights
from bench.checks.contract.tiny import REQUESTS, SAMPLES
from editors.base import Editor

FIRST, SECOND, THIRD, _ = REQUESTS
# Prompts of unequal lengths: edited ones, a rephrasing and an unrelated one.
PAIRS = [(request.prompt, request.target) for request in REQUESTS[:3]]
PAIRS += [(probe.prompt, probe.target) for probe in (*SAMPLES[0].generality, *SAMPLES[0].locality)]

TOLERANCE = 1e-5  # LLaMA's norms compute in float32 even in a float64 model

Check = Callable[[Subject], None]


class BrokenClauseError(Exception):
    """An editor does not do what a clause says."""


@dataclass(frozen=True)
class Clause:
    """One thing that every editor does."""

    name: str
    sentence: str
    check: Check


CLAUSES: dict[str, Clause] = {}


def clause(check: Check) -> Check:
    """Make a function a clause; its docstring is the sentence."""
    CLAUSES[check.__name__] = Clause(check.__name__, str(check.__doc__).strip(), check)
    return check


def wanted(holds: bool, found: str) -> None:
    if not holds:
        raise BrokenClauseError(found)


def same(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    wanted(actual.keys() == expected.keys(), f"{what} changed: other names")
    other = [name for name, tensor in expected.items() if not torch.equal(actual[name], tensor)]
    wanted(not other, f"{what} changed: {', '.join(other[:3])}")


def near(actual: Tensor, expected: Tensor, what: str) -> None:
    wanted(actual.shape == expected.shape, f"{what} have other shapes")
    if not torch.allclose(actual, expected, atol=TOLERANCE, rtol=TOLERANCE):
        largest = float((actual.double() - expected.double()).abs().max())
        wanted(False, f"{what} differ by up to {largest:.3g}")


def clean(editor: Editor[Any]) -> None:
    left = leftovers(editor.lm.model)
    wanted(not left, f"left on the model: {', '.join(left[:3])}")


def pristine(editor: Editor[Any], before: Mapping[str, Tensor], answers: Tensor) -> None:
    same(weights(editor.lm.model), before, "weights")
    wanted(torch.equal(logits(editor, PAIRS), answers), "it answers otherwise than before")
    clean(editor)


def shapes(artefact: Path | None) -> dict[str, tuple[torch.Size, torch.dtype]]:
    if artefact is None:
        raise BrokenClauseError("there is no artefact")
    return {name: (tensor.shape, tensor.dtype) for name, tensor in load_file(artefact).items()}

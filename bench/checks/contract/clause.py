"""What a clause is, and the requirements that clauses share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.checks.contract.tiny import REQUESTS, SAMPLES, Subject, leftovers, logits, weights
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
    """Add a function to the clauses; its docstring is the sentence."""
    CLAUSES[check.__name__] = Clause(check.__name__, str(check.__doc__).strip(), check)
    return check


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BrokenClauseError(otherwise)


@contextmanager
def refused(error: type[Exception], named: str, otherwise: str) -> Iterator[None]:
    """Requires an error with `named` in its sentence."""
    try:
        yield
    except error as refusal:
        require(named in str(refusal), f"it is refused otherwise: {refusal}")
    else:
        require(False, otherwise)


def require_equal(actual: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    require(actual.keys() == expected.keys(), f"{what} changed: other names")
    other = [name for name, tensor in expected.items() if not torch.equal(actual[name], tensor)]
    require(not other, f"{what} changed: {', '.join(other[:3])}")


def require_close(actual: Tensor, expected: Tensor, what: str) -> None:
    require(actual.shape == expected.shape, f"{what} have other shapes")
    if not torch.allclose(actual, expected, atol=TOLERANCE, rtol=TOLERANCE):
        largest = float((actual.double() - expected.double()).abs().max())
        raise BrokenClauseError(f"{what} differ by up to {largest:.3g}")


def require_clean(editor: Editor[Any]) -> None:
    left = leftovers(editor.lm.model)
    require(not left, f"left on the model: {', '.join(left[:3])}")


def require_answers(editor: Editor[Any], answers: Tensor, otherwise: str) -> None:
    require(torch.equal(logits(editor, PAIRS), answers), otherwise)


class Pristine:
    """The weights and answers of an editor before its edits."""

    def __init__(self, editor: Editor[Any]) -> None:
        self.weights, self.answers = weights(editor.lm.model), logits(editor, PAIRS)

    def require_again(self, editor: Editor[Any]) -> None:
        require_equal(weights(editor.lm.model), self.weights, "weights")
        require_answers(editor, self.answers, "its answers differ from those before")
        require_clean(editor)

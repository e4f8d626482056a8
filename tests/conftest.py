"""Fixtures that several test modules share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from editors.parts.language_model import LanguageModel

ARCHITECTURES = ("llama", "gptj", "gpt2")


@pytest.fixture(params=ARCHITECTURES)
def tiny_lm(request: pytest.FixtureRequest) -> LanguageModel:
    """A fresh tiny model, once for each architecture."""
    lm: LanguageModel = import_module("bench.checks.contract.tiny").TINY[request.param]()
    return lm


@pytest.fixture(autouse=True)
def _own_code_is_forgotten() -> Iterator[None]:
    """Editors and data sets of files that one test named are unknown to the next."""
    yield
    for name in ("editors.registry", "bench.datasets"):
        if name in sys.modules:
            vars(sys.modules[name])["_named"].clear()
            vars(sys.modules[name])["_remembered"].clear()

"""Fixtures that several test modules share."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from editors.parts.language_model import LanguageModel

ARCHITECTURES = ("llama", "gptj", "gpt2")


@pytest.fixture(params=ARCHITECTURES)
def tiny_lm(request: pytest.FixtureRequest) -> LanguageModel:
    """A fresh tiny model, once for each architecture."""
    lm: LanguageModel = import_module("tests.tiny").TINY[request.param]()
    return lm

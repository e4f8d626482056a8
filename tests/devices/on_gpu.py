"""The contract's tiny models on the pretended GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from bench.checks.contract.tiny import TINY
from editors.parts.language_model import LanguageModel
from tests.devices.pretend import GPU, Seen, pretend_gpu


@contextmanager
def tiny_models_on_gpu() -> Iterator[Seen]:
    """Inside, every tiny model is made on the GPU."""
    with pretend_gpu() as seen, patch.dict(TINY, {k: _moved(make) for k, make in TINY.items()}):
        yield seen


def _moved(make: Callable[[], LanguageModel]) -> Callable[[], LanguageModel]:
    def made() -> LanguageModel:
        lm = make()
        model: Any = lm.model
        return LanguageModel(model.to(GPU), lm.tokenizer, name=lm.name)

    return made

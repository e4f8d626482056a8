"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from editors.parts.language_model import LanguageModel

ARCHITECTURES = ("llama", "gptj", "gpt2")

# As in a process of the package's own; libraries read it when they are first imported.
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process waits long for the last one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(params=ARCHITECTURES)
def tiny_lm(request: pytest.FixtureRequest) -> LanguageModel:
    """A fresh tiny model, once for each architecture."""
    lm: LanguageModel = import_module("bench.checks.contract.tiny").TINY[request.param]()
    return lm


@pytest.fixture
def lm() -> LanguageModel:
    """A fresh tiny LLaMA."""
    lm: LanguageModel = import_module("bench.checks.contract.tiny").tiny_llama()
    return lm


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `Subject` stores the weights that it trains, once for all tests."""
    return tmp_path_factory.mktemp("artefacts")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The directory of real files, without which a test is skipped."""
    value = os.environ.get("EDIT_BENCH_DATA")
    if not value:
        pytest.skip("EDIT_BENCH_DATA is not set: no directory with real files to read")
    return Path(value).resolve()


@pytest.fixture(autouse=True)
def _own_code_is_forgotten() -> Iterator[None]:
    """Editors and data sets of files that one test named are unknown to the next."""
    yield
    for name in ("editors.registry", "bench.datasets"):
        if name in sys.modules:
            vars(sys.modules[name])["_named"].clear()
            vars(sys.modules[name])["_remembered"].clear()

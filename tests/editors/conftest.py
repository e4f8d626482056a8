"""Files of editors that several test modules read, each written once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.checks.contract.tiny import write_encoder
from editors.parts.encoder import TextVectors


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny sentence encoder that no test changes."""
    return write_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="session")
def vectors(encoder: Path) -> TextVectors:
    """Vectors of texts by that encoder."""
    return TextVectors.from_directory(encoder, torch.device("cpu"))

"""RECIPE's artefact on disk: what it was trained for, and the network in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editors.parts.artefact import files_digest, read_artefact
from editors.parts.encoder import SentenceEncoder, TextBatcher, read_config
from editors.parts.language_model import LanguageModel
from editors.parts.recipe.hparams import RecipeHparams, trained_values
from editors.parts.recipe.network import RecipeNetwork
from editors.parts.training.state import backbone_facts, check_fits

ARTEFACT_FORMAT = 1  # raised when older files can no longer be read

# Files that fix what the encoder's ids mean and how wide it is; its weights are in the artefact.
_ENCODER_FILES = ("config.json", "tokenizer.json")

# Hyper-parameters that the weights depend on in use, not in training alone.
_MODEL_FIELDS = (
    "pool",
    "representation_width",
    "sentinel_length",
    "sentinel",
    "prompt_length",
    "inject",
    "positions",
    "gate",
)


def identity(lm: LanguageModel, encoder: Path, hparams: RecipeHparams) -> dict[str, Any]:
    """What an artefact or a checkpoint must agree on with the run that reads it."""
    return {
        "editor": "recipe",
        "format": ARTEFACT_FORMAT,
        "hparams": trained_values(hparams),
        **backbone_facts(lm),
        "encoder_digest": encoder_digest(encoder),
    }


def encoder_digest(directory: Path) -> str:
    """sha256 of the encoder's configuration and tokenizer.

    Raises:
        FileNotFoundError: one of the two files is missing.
    """
    paths = [Path(directory) / name for name in _ENCODER_FILES]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"No sentence encoder at {directory}: {path.name} is missing.")
    return files_digest(paths)


@dataclass(frozen=True)
class Trained:
    """A trained network with what turns text into its input."""

    network: RecipeNetwork
    batcher: TextBatcher


def load_trained(path: Path, lm: LanguageModel, encoder: Path, hparams: RecipeHparams) -> Trained:
    """The network of an artefact; the encoder's directory gives its shape and its tokenizer.

    Raises:
        FileNotFoundError: artefact or encoder is not there.
        ValueError: the weights were trained for something else; the sentence says what.
    """
    config = read_config(encoder)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then replaced
        shape = SentenceEncoder(config, pool=hparams.pool)
        network = RecipeNetwork(shape, hparams, lm.hidden_size)
    network.load_state_dict(load_artefact(path, lm, encoder, hparams))
    return Trained(network.to(lm.device), TextBatcher.from_directory(encoder, shape.max_length))


def load_artefact(
    path: Path, lm: LanguageModel, encoder: Path, hparams: RecipeHparams
) -> dict[str, Tensor]:
    """Network weights (float32) that belong to this backbone, encoder and model shape.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the weights were trained for something else; the sentence says what.
    """
    tensors, header = read_artefact(path)
    check_fits(
        path,
        header,
        identity(lm, encoder, hparams),
        facts=("editor", "format", "encoder_digest"),
        hparams=_MODEL_FIELDS,
    )
    return {name: tensor.float() for name, tensor in tensors.items()}

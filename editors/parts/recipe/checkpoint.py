"""RECIPE's training state and artefact on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editors.parts.artefact import files_digest, read_artefact, write_artefact
from editors.parts.encoder import SentenceEncoder, TextBatcher, read_config
from editors.parts.language_model import LanguageModel
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.recipe.network import RecipeNetwork

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
)


def identity(lm: LanguageModel, encoder: Path, hparams: RecipeHparams) -> dict[str, Any]:
    """What an artefact or a checkpoint must agree on with the run that reads it."""
    return {
        "editor": "recipe",
        "format": ARTEFACT_FORMAT,
        "hparams": hparams.to_dict(),
        "backbone": lm.name,
        "backbone_digest": lm.digest,
        "backbone_dtype": str(lm.dtype).removeprefix("torch."),
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
    wanted = identity(lm, encoder, hparams)
    for key in ("editor", "format", "encoder_digest"):
        _check(path, key, header.get(key), wanted[key])
    if lm.digest and header.get("backbone_digest"):
        _check(path, "backbone_digest", header["backbone_digest"], lm.digest)
    trained = header["hparams"]
    for name in _MODEL_FIELDS:
        _check(path, name, trained.get(name), wanted["hparams"][name])
    return {name: tensor.float() for name, tensor in tensors.items()}


def save_artefact(
    path: Path, weights: Mapping[str, Tensor], header: Mapping[str, Any], dtype: str
) -> None:
    """Write network weights as `dtype` (`float32` or `float16`)."""
    write_artefact(path, {name: _cast(tensor, dtype) for name, tensor in weights.items()}, header)


def rounded(weights: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """The float32 weights that a reader of the artefact will get."""
    return {name: _cast(tensor, dtype).float() for name, tensor in weights.items()}


def _cast(tensor: Tensor, dtype: str) -> Tensor:
    return tensor.to(torch.float16 if dtype == "float16" else torch.float32)


def flatten_state(
    network: Mapping[str, Tensor],
    best: Mapping[str, Tensor],
    optimiser: Mapping[str, Any],
    draws: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """A training state as one flat dictionary of tensors, for safetensors."""
    moments = {
        f"{index}.{name}": value
        for index, state in optimiser["state"].items()
        for name, value in state.items()
    }
    groups = {"network": network, "best": best, "optimiser": moments, "draws": draws}
    return {
        f"{group}/{name}": tensor
        for group, tensors in groups.items()
        for name, tensor in tensors.items()
    }


def group_of(tensors: Mapping[str, Tensor], group: str) -> dict[str, Tensor]:
    """One of the groups that `flatten_state` joined: network, best, optimiser or draws."""
    prefix = f"{group}/"
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def optimiser_state(
    moments: Mapping[str, Tensor], optimiser: torch.optim.Optimizer
) -> dict[str, Any]:
    """What `optimiser.load_state_dict` takes, from the flat moments."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in moments.items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = tensor
    return {"state": state, "param_groups": optimiser.state_dict()["param_groups"]}


def check_identity(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse the file of another training run.

    Raises:
        ValueError: by the first thing that differs.
    """
    wanted = json.loads(json.dumps(wanted))  # as the file spells it
    for key, value in wanted.items():
        if found.get(key) != value:
            raise ValueError(
                f"{path} belongs to another training run: {key} is "
                f"{found.get(key)!r} there and {value!r} here. Delete the file (--overwrite), "
                "or write somewhere else."
            )


def _check(path: Path, name: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise ValueError(
            f"The trained weights at {path} do not fit: {name} is {got!r} there, wanted {wanted!r}."
        )

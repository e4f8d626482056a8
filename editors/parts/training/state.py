"""An unfinished training as tensors, and whether a file belongs to the run that reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editors.base import EditSample
from editors.parts.language_model import LanguageModel


def backbone_facts(lm: LanguageModel) -> dict[str, Any]:
    """What a header says of the model that weights were trained for."""
    return {
        "backbone": lm.name,
        "backbone_digest": lm.digest,
        "backbone_dtype": str(lm.dtype).removeprefix("torch."),
    }


def data_facts(samples: Mapping[str, Sequence[EditSample]]) -> dict[str, Any]:
    """Number and digest of each data set's samples.

    Raises:
        ValueError: no data set at all.
    """
    if not samples:
        raise ValueError("Training needs at least one data set, got none.")
    return {
        name: {
            "samples": len(rows),
            "sha256": hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest(),
        }
        for name, rows in samples.items()
    }


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


def check_fits(
    path: Path,
    header: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    facts: Sequence[str],
    hparams: Sequence[str],
) -> None:
    """Refuse trained weights that were made for something else.

    Args:
        path: of the artefact, for the error.
        header: the artefact's.
        wanted: what a run with the present model and settings would write there.
        facts: keys of both that must agree; the backbone's digest is compared where both know it.
        hparams: hyper-parameters that the weights depend on in use, not in training alone.

    Raises:
        ValueError: by the first thing that differs.
    """
    wanted = json.loads(json.dumps(wanted))
    pairs = [(key, header.get(key), wanted[key]) for key in facts]
    if wanted["backbone_digest"] and header.get("backbone_digest"):
        pairs.append(("backbone_digest", header["backbone_digest"], wanted["backbone_digest"]))
    trained = header.get("hparams", {})
    pairs += [(name, trained.get(name), wanted["hparams"].get(name)) for name in hparams]
    for name, found, value in pairs:
        if found != value:
            raise ValueError(
                f"The trained weights at {path} do not fit: {name} is {found!r} there, "
                f"wanted {value!r}."
            )


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

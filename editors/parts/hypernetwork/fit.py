"""From edit samples to a hypernetwork's artefact, and back to its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from editors.base import EditSample
from editors.parts.artefact import (
    artefact_path,
    backbone_facts,
    check_fits,
    data_facts,
    read_artefact,
)
from editors.parts.hypernetwork.examples import Example, tokenise
from editors.parts.hypernetwork.hparams import HypernetworkHparams
from editors.parts.hypernetwork.learner import HypernetworkLearner, Objective
from editors.parts.hypernetwork.network import RunningStatistics
from editors.parts.hypernetwork.projections import Projection
from editors.parts.language_model import LanguageModel
from editors.parts.training.examples import split_held_out
from editors.parts.training.loop import (
    LoopSettings,
    Progress,
    Selection,
    trained_artefact,
    untrained_artefact,
)

ARTEFACT_FORMAT = 1  # raised when older files can no longer be read

NetworkT = TypeVar("NetworkT", bound=nn.Module)


def fit_hypernetwork(
    key: str,
    lm: LanguageModel,
    samples: Mapping[str, Sequence[EditSample]],
    hparams: HypernetworkHparams,
    projections: Sequence[Projection],
    make_objective: Callable[[], tuple[Objective, torch.optim.Optimizer]],
    *,
    selection: Selection,
    seed: int,
    out: Path,
    progress: Progress | None,
) -> Path:
    """Train on samples of one or several data sets and write the artefact.

    An unfinished run of the same settings and data is continued; a finished one is left as it is.
    Samples without a generality or without a locality probe cannot train.

    Args:
        key: of the editor.
        lm: the pristine model.
        samples: by data set.
        hparams: of the editor.
        projections: what it edits.
        make_objective: a fresh objective and the optimiser of its network, called under `seed`.
        selection: which checkpoint is kept.
        seed: of initial weights, held-out choice and draws.
        out: directory for the artefact.
        progress: called after each step.

    Returns:
        Path of the artefact.

    Raises:
        ValueError: too few usable samples, or the artefact or checkpoint of another run lies there.
    """
    run = identity(key, lm, hparams, projections) | {"seed": seed, "data": data_facts(samples)}

    def learner() -> HypernetworkLearner:
        training: dict[str, list[Example]] = {}
        held_out: dict[str, list[Example]] = {}
        for name, rows in samples.items():
            examples = tokenise(rows, lm.tokenizer)
            training[name], held_out[name] = split_held_out(examples, hparams.held_out, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            objective, optimiser = make_objective()
        return HypernetworkLearner(objective, optimiser, hparams, training, held_out, seed)

    settings = LoopSettings(
        iterations=hparams.iterations,
        checkpoint_interval=hparams.checkpoint_interval,
        selection=selection,
        patience=hparams.patience,
    )
    path = artefact_path(out, key, lm.name, list(samples))
    return trained_artefact(path, run, learner, settings, progress=progress)


def untrained_hypernetwork(
    key: str,
    lm: LanguageModel,
    hparams: HypernetworkHparams,
    projections: Sequence[Projection],
    make: Callable[[], nn.Module],
    *,
    seed: int,
    out: Path,
) -> Path:
    """Write the network that `make` gives under `seed`, with statistics that change nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make()
    for module in network.modules():
        if isinstance(module, RunningStatistics):
            module.standardise()
    return untrained_artefact(
        artefact_path(out, key, lm.name, []),
        network.state_dict(),
        identity(key, lm, hparams, projections) | {"seed": seed},
        dtype="float32",
    )


def load_hypernetwork(
    path: Path,
    key: str,
    make: Callable[[], NetworkT],
    lm: LanguageModel,
    hparams: HypernetworkHparams,
    projections: Sequence[Projection],
) -> NetworkT:
    """A network of the shape that `make` gives, with the weights of an artefact, for use only.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the weights were trained for something else; the sentence says what.
    """
    tensors, header = read_artefact(path)
    check_fits(
        path,
        header,
        identity(key, lm, hparams, projections),
        facts=("editor", "format", "projections"),
        hparams=("rank", "n_blocks"),
    )
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then replaced
        network = make()
    network.load_state_dict(tensors)
    return network.to(lm.device).eval().requires_grad_(False)


def identity(
    key: str, lm: LanguageModel, hparams: HypernetworkHparams, projections: Sequence[Projection]
) -> dict[str, Any]:
    """What an artefact or a checkpoint must agree on with the run that reads it."""
    return {
        "editor": key,
        "format": ARTEFACT_FORMAT,
        "hparams": hparams.to_dict(),
        "projections": [projection.path for projection in projections],
        **backbone_facts(lm),
    }

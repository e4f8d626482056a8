"""From edit samples to a RASE artefact, and back to a retriever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from editors.base import EditSample
from editors.parts.artefact import (
    artefact_path,
    backbone_facts,
    check_fits,
    check_identity,
    data_facts,
    read_artefact,
    read_header,
    write_artefact,
)
from editors.parts.encoder import TextVectors, vectors_digest
from editors.parts.language_model import LanguageModel
from editors.parts.rase.examples import Example, examples_of
from editors.parts.rase.gate import Gate
from editors.parts.rase.held_out import HeldOut, calibrate, rates
from editors.parts.rase.hparams import RaseHparams, trained_values
from editors.parts.rase.learner import RaseLearner
from editors.parts.rase.network import RaseNetwork
from editors.parts.rase.retriever import FactRetriever
from editors.parts.training.examples import split_held_out
from editors.parts.training.loop import LoopSettings, Progress, trained_artefact, untrained_artefact

ARTEFACT_FORMAT = 1  # raised when older files can no longer be read

_OPEN = Gate(maximum=-2.0)  # below every cosine: each query fires

# Settings that the weights depend on in use, not in training alone.
_MODEL_FIELDS = ("heads", "width", "highway_layers")


def fit_rase(
    lm: LanguageModel,
    samples: Mapping[str, Sequence[EditSample]],
    hparams: RaseHparams,
    *,
    encoder: Path,
    seed: int,
    out: Path,
    progress: Progress | None = None,
) -> Path:
    """Train the heads on samples of one or several data sets, calibrate the gates, write both.

    The language model takes no part; it names the artefact. Samples without a generality or
    without a locality probe cannot train. Without trained heads only the gates are calibrated.

    Args:
        encoder: directory of the frozen sentence encoder.
        seed: of initial weights, held-out choice, batch order, draws and dropout.
        out: directory for the artefact.

    Returns:
        Path of the artefact.

    Raises:
        ValueError: too few usable samples, or the artefact or checkpoint of another run lies there.
    """
    run = identity(lm, encoder, hparams) | {"seed": seed, "data": data_facts(samples)}
    path = artefact_path(out, "r_rome", lm.name, list(samples))

    if path.exists():
        check_identity(path, read_header(path), run)
        return path
    vectors = TextVectors.from_directory(encoder, lm.device)
    network = _network(vectors, hparams, seed).to(lm.device)
    training, held_out = _pools(samples, hparams, seed)
    if hparams.heads == "untrained":
        return _calibrated_artefact(path, run, vectors, network, held_out)
    settings = LoopSettings(
        iterations=hparams.iterations, checkpoint_interval=hparams.checkpoint_interval
    )
    return trained_artefact(
        path,
        run,
        lambda: RaseLearner(vectors, network, training, held_out, hparams, seed),
        settings,
        dtype=hparams.artefact_dtype,
        progress=progress,
    )


def untrained_rase(
    lm: LanguageModel, hparams: RaseHparams, *, encoder: Path, seed: int, out: Path
) -> Path:
    """Write initial heads and a gate that every query passes; arguments as of `fit_rase`."""
    network = _network(TextVectors.from_directory(encoder, lm.device), hparams, seed)
    for two_way in (False, True):
        network.set_gate(_OPEN, two_way=two_way)
    return untrained_artefact(
        artefact_path(out, "r_rome", lm.name, []),
        network.state_dict(),
        identity(lm, encoder, hparams) | {"seed": seed},
        dtype=hparams.artefact_dtype,
    )


def load_retriever(
    path: Path, lm: LanguageModel, encoder: Path, hparams: RaseHparams
) -> FactRetriever:
    """The retriever of an artefact.

    Raises:
        FileNotFoundError: artefact or encoder is not there.
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
    vectors = TextVectors.from_directory(encoder, lm.device)
    network = _network(vectors, hparams, seed=0)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return FactRetriever(vectors, network.to(lm.device).eval().requires_grad_(False))


def identity(lm: LanguageModel, encoder: Path, hparams: RaseHparams) -> dict[str, Any]:
    """What an artefact or a checkpoint must agree on with the run that reads it.

    Raises:
        FileNotFoundError: there is no encoder.
    """
    return {
        "editor": "r_rome",
        "format": ARTEFACT_FORMAT,
        "hparams": trained_values(hparams),
        **backbone_facts(lm),
        "encoder_digest": vectors_digest(encoder),
    }


def _network(vectors: TextVectors, hparams: RaseHparams, seed: int) -> RaseNetwork:
    """Initial heads and the original's gates."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return RaseNetwork(vectors.width, hparams)


def _pools(
    samples: Mapping[str, Sequence[EditSample]], hparams: RaseHparams, seed: int
) -> tuple[dict[str, list[Example]], dict[str, list[Example]]]:
    """(training, held-out) examples by data set."""
    training, held_out = {}, {}
    for name, rows in samples.items():
        split = split_held_out(examples_of(rows), hparams.held_out, seed)
        training[name], held_out[name] = split
    return training, held_out


def _calibrated_artefact(
    path: Path,
    run: Mapping[str, Any],
    vectors: TextVectors,
    network: RaseNetwork,
    examples: Mapping[str, Sequence[Example]],
) -> Path:
    """An artefact that holds gates alone."""
    held_out = {name: HeldOut.of(vectors, pool) for name, pool in examples.items()}
    calibrate(network, held_out)
    validation = {name: rates(network, pool) for name, pool in held_out.items()}
    facts = {"selected_iteration": 0, "validation": validation}
    write_artefact(path, network.state_dict(), {**run, **facts})
    return path

"""From edit samples to an LTE artefact, and back to a follower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editors.base import EditSample
from editors.parts.artefact import artefact_path, read_artefact
from editors.parts.deltas import WeightDelta
from editors.parts.encoder import TextVectors, vectors_digest
from editors.parts.language_model import LanguageModel
from editors.parts.lte.calibration import calibrated_threshold
from editors.parts.lte.examples import PREFIX, LteExample, tokenise
from editors.parts.lte.follower import (
    FollowerWeights,
    copy_to_train,
    deltas_of,
    no_increments,
)
from editors.parts.lte.hparams import LteHparams
from editors.parts.lte.learner import LteLearner
from editors.parts.lte.objective import LteObjective
from editors.parts.lte.validation import Validator
from editors.parts.training.loop import LoopSettings, Progress
from editors.parts.training.run import trained_artefact, untrained_artefact
from editors.parts.training.sampling import split_held_out
from editors.parts.training.state import backbone_facts, check_fits, data_facts

ARTEFACT_FORMAT = 1  # raised when older files can no longer be read
_ALWAYS = -1.0  # a cosine that every question exceeds

Pools = dict[str, list[LteExample]]


@dataclass(frozen=True)
class Follower:
    """What training made: increments of all weights, and a threshold of retrieval."""

    deltas: tuple[WeightDelta, ...]
    threshold: float


def fit_lte(
    lm: LanguageModel,
    samples: Mapping[str, Sequence[EditSample]],
    hparams: LteHparams,
    *,
    encoder: Path,
    seed: int,
    out: Path,
    progress: Progress | None = None,
) -> Path:
    """Fine-tune a copy of the model on samples of one or several data sets, write how it differs.

    Samples without a generality or without a locality probe cannot train.

    Args:
        encoder: directory of the sentence encoder that retrieves; it is not trained.
        seed: of the held-out choice and of all draws.
        out: directory for the artefact.

    Returns:
        Path of the artefact.

    Raises:
        ValueError: too few usable samples, or the artefact or checkpoint of another run lies there.
    """
    run = identity(lm, encoder, hparams) | {"seed": seed, "data": data_facts(samples)}

    def learner() -> LteLearner:
        training, held_out = _pools(lm, samples, hparams, seed)
        vectors = TextVectors.from_directory(encoder, lm.device)
        calibrating = {name: pool[: hparams.calibration] for name, pool in training.items()}
        calibrated = calibrated_threshold(vectors, calibrating)
        network = FollowerWeights(lm.model, calibrated)
        objective = LteObjective(lm, copy_to_train(lm))
        validator = Validator(objective, vectors, held_out, hparams.threshold_in_use(calibrated))
        return LteLearner(network, objective, validator, training, held_out, hparams, seed)

    return trained_artefact(
        artefact_path(out, "lte", lm.name, list(samples)),
        run,
        learner,
        LoopSettings(
            iterations=hparams.iterations, checkpoint_interval=hparams.checkpoint_interval
        ),
        dtype="float16",
        progress=progress,
    )


def untrained_lte(
    lm: LanguageModel, hparams: LteHparams, *, encoder: Path, seed: int, out: Path
) -> Path:
    """Write a follower that is the model itself, and finds a fact for every question."""
    return untrained_artefact(
        artefact_path(out, "lte", lm.name, []),
        no_increments(lm.model, _ALWAYS),
        identity(lm, encoder, hparams) | {"seed": seed},
        dtype="float16",
    )


def load_follower(path: Path, lm: LanguageModel, encoder: Path, hparams: LteHparams) -> Follower:
    """The follower of an artefact, if it belongs to this backbone and encoder.

    Raises:
        FileNotFoundError: artefact or encoder is not there.
        ValueError: the weights were trained for something else; the sentence says what.
    """
    tensors, header = read_artefact(path)
    check_fits(
        path,
        header,
        identity(lm, encoder, hparams),
        facts=("editor", "format", "prefix", "encoder_digest"),
        hparams=(),
    )
    return Follower(*deltas_of(tensors))


def identity(lm: LanguageModel, encoder: Path, hparams: LteHparams) -> dict[str, Any]:
    """What an artefact or a checkpoint must agree on with the run that reads it.

    Raises:
        FileNotFoundError: there is no encoder.
    """
    return {
        "editor": "lte",
        "format": ARTEFACT_FORMAT,
        "hparams": hparams.to_dict(),
        "prefix": PREFIX,
        **backbone_facts(lm),
        "encoder_digest": vectors_digest(encoder),
    }


def _pools(
    lm: LanguageModel, samples: Mapping[str, Sequence[EditSample]], hparams: LteHparams, seed: int
) -> tuple[Pools, Pools]:
    """(training, held-out) examples by data set."""
    training: Pools = {}
    held_out: Pools = {}
    for name, rows in samples.items():
        examples = tokenise(rows, lm.tokenizer)
        training[name], held_out[name] = split_held_out(examples, hparams.held_out, seed)
    return training, held_out

"""From edit samples to a RECIPE artefact."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from editors.base import EditSample
from editors.parts.artefact import artefact_path, checkpoint_path, read_header
from editors.parts.encoder import SentenceEncoder, TextBatcher
from editors.parts.language_model import LanguageModel
from editors.parts.recipe.checkpoint import check_identity, identity, rounded, save_artefact
from editors.parts.recipe.examples import Example, split_held_out, tokenise
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.recipe.network import RecipeNetwork
from editors.parts.recipe.objective import Objective
from editors.parts.recipe.trainer import Progress, Trainer
from editors.parts.recipe.validation import validation_scores

Pools = dict[str, list[Example]]


def fit_recipe(
    lm: LanguageModel,
    samples: Mapping[str, Sequence[EditSample]],
    hparams: RecipeHparams,
    *,
    encoder: Path,
    seed: int,
    out: Path,
    progress: Progress | None = None,
) -> Path:
    """Train a network on samples of one or several data sets and write its artefact.

    An unfinished run of the same settings and data is continued from its last checkpoint, which
    lies beside the artefact until training ends; a finished one is left as it is. Samples without
    a generality or without a locality probe cannot train; the header counts what did.

    Args:
        encoder: directory of the pre-trained sentence encoder; its weights are trained too.
        seed: of initial weights, held-out choice, batch order, draws and dropout.
        out: directory for the artefact.

    Returns:
        Path of the artefact.

    Raises:
        ValueError: too few usable samples, or the artefact or checkpoint of another run lies there.
    """
    if not samples:
        raise ValueError("Training needs at least one data set, got none.")
    run = identity(lm, encoder, hparams) | {"seed": seed, "data": _data_facts(samples)}
    path = artefact_path(out, "recipe", lm.name, list(samples))
    if path.exists():
        check_identity(path, read_header(path), run)
        return path
    batcher, network = _fresh_network(lm, hparams, encoder, seed)
    training, held_out = _pools(lm, samples, hparams, batcher, seed)
    trainer = Trainer(Objective(lm, network, batcher, hparams), training, held_out, seed)
    trainer.run(checkpoint_path(path), run, progress)
    best = rounded(trainer.best, hparams.artefact_dtype)
    network.load_state_dict(best)
    save_artefact(path, best, run | _summary(trainer), hparams.artefact_dtype)
    checkpoint_path(path).unlink()
    return path


def _summary(trainer: Trainer) -> dict[str, Any]:
    """What a finished training says of itself; the network holds the weights of the artefact."""
    trainer.objective.network.eval()
    return {
        "selected_iteration": trainer.best_iteration,
        "selected_loss": trainer.best_loss,
        "history": trainer.history,
        "validation": {
            name: {"edits": len(pool)} | validation_scores(trainer.objective, pool)
            for name, pool in trainer.held_out.items()
        },
    }


def _fresh_network(
    lm: LanguageModel, hparams: RecipeHparams, directory: Path, seed: int
) -> tuple[TextBatcher, RecipeNetwork]:
    encoder = SentenceEncoder.from_directory(directory, pool=hparams.pool, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RecipeNetwork(encoder, hparams, lm.hidden_size)
    batcher = TextBatcher.from_directory(directory, encoder.max_length)
    return batcher, network.to(lm.device)


def _pools(
    lm: LanguageModel,
    samples: Mapping[str, Sequence[EditSample]],
    hparams: RecipeHparams,
    batcher: TextBatcher,
    seed: int,
) -> tuple[Pools, Pools]:
    """(training, held-out) examples by data set."""
    training: Pools = {}
    held_out: Pools = {}
    for name, rows in samples.items():
        examples = tokenise(rows, lm.tokenizer, batcher)
        training[name], held_out[name] = split_held_out(examples, hparams.held_out, seed)
    return training, held_out


def _data_facts(samples: Mapping[str, Sequence[EditSample]]) -> dict[str, Any]:
    """Number and digest of each data set's samples."""
    return {
        name: {
            "samples": len(rows),
            "sha256": hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest(),
        }
        for name, rows in samples.items()
    }

"""From edit samples to a RECIPE artefact."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from editors.base import EditSample
from editors.parts.artefact import artefact_path
from editors.parts.encoder import SentenceEncoder, TextBatcher
from editors.parts.language_model import LanguageModel
from editors.parts.recipe.checkpoint import identity
from editors.parts.recipe.examples import Example, tokenise
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.recipe.learner import RecipeLearner
from editors.parts.recipe.network import RecipeNetwork
from editors.parts.recipe.objective import Objective
from editors.parts.training.loop import LoopSettings, Progress
from editors.parts.training.run import trained_artefact, untrained_artefact
from editors.parts.training.sampling import split_held_out
from editors.parts.training.state import data_facts

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
    run = identity(lm, encoder, hparams) | {"seed": seed, "data": data_facts(samples)}

    def learner() -> RecipeLearner:
        batcher, network = _fresh_network(lm, hparams, encoder, seed)
        training, held_out = _pools(lm, samples, hparams, batcher, seed)
        return RecipeLearner(Objective(lm, network, batcher, hparams), training, held_out, seed)

    return trained_artefact(
        artefact_path(out, "recipe", lm.name, list(samples)),
        run,
        learner,
        LoopSettings(
            iterations=hparams.iterations,
            checkpoint_interval=hparams.checkpoint_interval,
            selection=hparams.selection,
            first_selectable=hparams.ramp_end,
        ),
        dtype=hparams.artefact_dtype,
        progress=progress,
    )


def untrained_recipe(
    lm: LanguageModel, hparams: RecipeHparams, *, encoder: Path, seed: int, out: Path
) -> Path:
    """Write the artefact of a network that was not trained; arguments as of `fit_recipe`.

    Its queries start in the space of the keys, whatever the hyper-parameters say: an edit's own
    question so finds a key, and is answered with a prompt as after training.
    """
    started = replace(hparams, query_init="knowledge")
    _, network = _fresh_network(lm, started, encoder, seed)
    if network.threshold is not None:
        network.threshold.fill_(-math.inf)
    return untrained_artefact(
        artefact_path(out, "recipe", lm.name, []),
        network.state_dict(),
        identity(lm, encoder, hparams) | {"seed": seed},
        dtype=hparams.artefact_dtype,
    )


def _fresh_network(
    lm: LanguageModel, hparams: RecipeHparams, directory: Path, seed: int
) -> tuple[TextBatcher, RecipeNetwork]:
    hparams.check_backbone(lm.architecture.model_type)
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

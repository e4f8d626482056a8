"""The data of Figure 4, from models to one plain JSON value: continuous prompt tokens among words.

`bench.report.plots.prompt_map` draws it without any model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.distance import cdist

from bench.core.cells import plain
from bench.core.config import RunConfig
from bench.core.grids import RECIPE, variant
from bench.core.numerics import draw
from bench.datasets import get_dataset
from bench.evaluation.jobs import EditJob
from bench.models.backbones import load
from bench.models.resources import UntrainedEditorError, resources_for
from bench.runner.planning import Planner, points
from bench.tables.figure_data import MAP_SCHEMA
from editors.base import EditRequest
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import target_ids
from editors.recipe import RecipeEditor

_LIBRARIES = ("numpy", "scikit-learn", "torch", "transformers")
_DIGITS = 3  # decimals of positions; maps are tens of units wide
_RATIO_DIGITS = 5  # significant ones

Vectors = npt.NDArray[np.floating]
Positions = npt.NDArray[np.float64]  # [N, 2]
# From the two first principal components, or from noise of a seed. Nothing is random in a map from
# principal components (two seeds give the same map), so that only noise shows what seeds change.
Start = Literal["pca"] | int


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """What is mapped and how; all but the paper's own choices are ours."""

    dataset: str = "counterfact"  # the paper's, as are 100 edits and these lengths
    edits: int = 100
    seed: int = 0  # draws the edits, as in cells
    lengths: tuple[int, ...] = (1, 3, 5)
    perplexities: tuple[float, ...] = (10, 30, 50)
    starts: tuple[Start, ...] = ("pca", 0, 1, 2, 3, 4)
    drawn_perplexity: float = 30  # scikit-learn's default
    drawn_start: Start = "pca"

    @property
    def maps(self) -> int:
        """How many maps there are."""
        return len(self.perplexities) * len(self.starts)


def compute(
    config: RunConfig, chosen: MapSettings | None = None,
    report_progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """The data of the figure, for every length whose weights are there.

    Backbone, world, data and device are those of a run. `report_progress` is called with the number
    of further maps that are done.

    Raises:
        UntrainedEditorError: no length has weights.
        ValueError: a backbone or data that a run could not have either.
    """
    chosen = chosen or MapSettings()
    jobs = _jobs(config, chosen)
    job = next(iter(jobs.values()))
    samples = get_dataset(chosen.dataset).load("test", job.data_dir).samples
    requests = [s.request for s in draw(samples, seed=chosen.seed, limit=chosen.edits)]
    lm = load(job.backbone, dtype=job.cell.dtype, device=job.device, device_map=job.device_map)
    names = names_in(requests)
    words = name_vectors(lm, [name["text"] for name in names])
    prompts = {length: prompt_vectors(lm, own, requests) for length, own in jobs.items()}
    placed_words, placed_prompts, ratios = _mapped(words, prompts, chosen, report_progress)
    return {
        "schema": MAP_SCHEMA,
        "settings": plain(asdict(chosen)),
        "cells": {str(length): own.cell.to_dict() for length, own in jobs.items()},
        "missing": [length for length in chosen.lengths if length not in jobs],
        "versions": {name: metadata.version(name) for name in _LIBRARIES},
        "names": [
            name | {"at": _rounded(at)} for name, at in zip(names, placed_words, strict=True)
        ],
        "prompts": {str(length): _rounded(at) for length, at in placed_prompts.items()},
        "nearness": ratios,
    }


def _jobs(config: RunConfig, chosen: MapSettings) -> dict[int, EditJob]:
    """A plan's job per length, of those that have weights."""
    jobs: dict[int, EditJob] = {}
    reason: UntrainedEditorError | None = None
    for length in chosen.lengths:
        changes = variant(f"cpt={length}").hparams
        wanted = replace(
            config, editors=(RECIPE,), datasets=(chosen.dataset,), edits=(chosen.edits,),
            seeds=(chosen.seed,), limit=chosen.edits,
            hparams={f"{RECIPE}.{name}": value for name, value in changes.items()},
        )  # fmt: skip
        try:
            (jobs[length],), _ = Planner(wanted).edit_jobs(points(wanted), named=True)
        except UntrainedEditorError as error:
            reason = error
    if not jobs and reason is not None:
        raise reason
    return jobs


# What is mapped.


def names_in(requests: Sequence[EditRequest]) -> list[dict[str, Any]]:
    """Each name once, subjects first, in the order of the edits.

    A name is the `text` of a `subject`, of an `object` (an edit's target), or of both.
    """
    subjects = dict.fromkeys(request.subject for request in requests)
    objects = dict.fromkeys(request.target for request in requests)
    return [
        {"text": text, "subject": text in subjects, "object": text in objects}
        for text in subjects | objects
    ]


@torch.no_grad()
def name_vectors(lm: LanguageModel, names: Sequence[str]) -> Vectors:
    """Word embeddings [N, d]; a name of several tokens is the mean of its rows.

    Names are tokenised as inside a sentence, after a space.
    """
    embed = lm.module(lm.architecture.embeddings)
    rows = [
        embed(torch.tensor(target_ids(lm.tokenizer, name), device=lm.device)).mean(dim=0)
        for name in names
    ]
    vectors: Vectors = torch.stack(rows).float().cpu().numpy()
    return vectors


@torch.no_grad()
def prompt_vectors(lm: LanguageModel, job: EditJob, requests: Sequence[EditRequest]) -> Vectors:
    """Continuous prompts [E, l, d] of edits, by the weights of a job of RECIPE."""
    hparams = RecipeEditor.hparams_class.from_dict(job.cell.hparams)
    editor = RecipeEditor(lm, hparams, resources_for(lm, hparams, job.sources))
    editor.edit(requests)
    prompts: Vectors = editor.repository.prompts[1:].float().cpu().numpy()  # row 0: the sentinel
    return np.ascontiguousarray(prompts)


# Maps of the plane, and how near points lie to names in them.


def _mapped(
    words: Vectors, prompts: Mapping[int, Vectors], chosen: MapSettings,
    report_progress: Callable[[int], None],
) -> tuple[Positions, dict[int, Positions], list[dict[str, Any]]]:  # fmt: skip
    """Positions of names [N, 2] and prompts [E, l, 2] in the drawn map, and all ratios."""
    flat = {length: own.reshape(-1, own.shape[-1]) for length, own in prompts.items()}
    ratios = [{"space": "embeddings", **own} for own in _nearness(words, flat)]
    joint = np.concatenate([words, *flat.values()])
    borders = np.cumsum([len(words), *(len(own) for own in flat.values())])[:-1]
    drawn: tuple[Positions, dict[int, Positions]] | None = None
    for perplexity in chosen.perplexities:
        for start in chosen.starts:
            placed, *rest = np.split(tsne(joint, perplexity=perplexity, start=start), borders)
            report_progress(1)
            by_length = dict(zip(flat, rest, strict=True))
            where = {"space": "map", "perplexity": perplexity, "start": start}
            ratios += [where | own for own in _nearness(placed, by_length)]
            if (perplexity, start) == (chosen.drawn_perplexity, chosen.drawn_start):
                drawn = placed, by_length
    if drawn is None:
        raise ValueError("The map that is drawn must be among those that are computed.")
    shaped = {n: at.reshape(*prompts[n].shape[:2], 2) for n, at in drawn[1].items()}
    return drawn[0], shaped, ratios


def tsne(vectors: Vectors, *, perplexity: float, start: Start) -> Positions:
    """Positions [N, 2] of vectors [N, d] by t-SNE; scikit-learn's defaults otherwise.

    It has one thread, so that the number of cores changes nothing.

    Raises:
        ValueError: a perplexity that is not below the number of vectors.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if perplexity >= len(vectors):
        raise ValueError(
            f"A map with perplexity {perplexity:g} needs more points, got {len(vectors)}."
        )
    init, state = ("pca", 0) if start == "pca" else ("random", start)
    model = TSNE(perplexity=perplexity, init=init, random_state=state, n_jobs=1)
    with threadpool_limits(limits=1):
        placed: Positions = model.fit_transform(vectors).astype(np.float64)
    return placed


def nearness(points: Vectors, names: Vectors) -> dict[str, float]:
    """Quartiles of the Euclidean distances of points [P, d] to their nearest of names [N, d].

    They are ratios to the distance `within` names, the median over names of that to the nearest
    other one: a ratio of 1 is as near to a name as names are to each other.

    Raises:
        ValueError: no points, fewer than two names, or names that coincide.
    """
    if len(points) == 0 or len(names) < 2:
        raise ValueError(
            f"Nearness needs points and at least two names, got {len(points)} and {len(names)}."
        )
    between = cdist(names, names)
    np.fill_diagonal(between, np.inf)
    within = float(np.median(between.min(axis=1)))
    if within == 0:
        raise ValueError("Half of the names coincide with another one; no distance compares.")
    ratios = cdist(points, names).min(axis=1) / within
    low, middle, high = map(float, np.quantile(ratios, (0.25, 0.5, 0.75)))
    return {"within": within, "lower_quartile": low, "median": middle, "upper_quartile": high}


def _nearness(words: Vectors, prompts: Mapping[int, Any]) -> Iterator[dict[str, Any]]:
    for length, vectors in prompts.items():
        ratios = nearness(vectors, words).items()
        rounded = {name: float(f"{value:.{_RATIO_DIGITS}g}") for name, value in ratios}
        yield {"prompt_length": length, **rounded}


def _rounded(positions: Vectors) -> Any:
    return np.round(positions.astype(np.float64), _DIGITS).tolist()

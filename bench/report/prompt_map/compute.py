"""The data of Figure 4, from models to one plain JSON value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from typing import Any

import numpy as np

from bench.core.grids import RECIPE, GridPoint, variant
from bench.core.numerics import draw
from bench.datasets import get_dataset
from bench.evaluation.edit_job import EditJob
from bench.models.backbones import load
from bench.models.resources import UntrainedEditorError
from bench.report.prompt_map.maps import Positions, Start, tsne
from bench.report.prompt_map.nearness import Vectors, nearness
from bench.report.prompt_map.vectors import Name, name_vectors, names_in, prompt_vectors
from bench.runner.planning import Settings, plan
from bench.tables.figure_data.prompt_map import SCHEMA

_LIBRARIES = ("numpy", "scikit-learn", "torch", "transformers")
_DIGITS = 3  # decimals of positions; maps are tens of units wide


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
        """How many maps are made."""
        return len(self.perplexities) * len(self.starts)


def _nobody(_: int) -> None:
    pass


def compute(
    backbone: str,
    settings: Settings,
    chosen: MapSettings | None = None,
    told: Callable[[int], None] = _nobody,
) -> dict[str, Any]:
    """The data of the figure, for every length whose weights are there.

    Args:
        backbone: a name or a path, as of a run.
        settings: world, data, device of a run.
        chosen: what is mapped.
        told: is called with how many more maps are made.

    Raises:
        UntrainedEditorError: no length has weights.
        ValueError: a backbone or data that a run could not have either.
    """
    chosen = chosen or MapSettings()
    jobs = _jobs(backbone, settings, chosen)
    job = next(iter(jobs.values()))
    samples = get_dataset(chosen.dataset).load("test", job.data_dir).samples
    requests = [s.request for s in draw(samples, seed=chosen.seed, limit=chosen.edits)]
    lm = load(job.backbone, dtype=job.cell.dtype, device=job.device, device_map=job.device_map)
    names = names_in(requests)
    words = name_vectors(lm, names)
    prompts = {length: prompt_vectors(lm, one, requests) for length, one in jobs.items()}
    placed_words, placed_prompts, numbers = _mapped(words, prompts, chosen, told)
    return {
        "schema": SCHEMA,
        "settings": _plain(asdict(chosen)),
        "cells": {str(length): one.cell.to_dict() for length, one in jobs.items()},
        "missing": [length for length in chosen.lengths if length not in jobs],
        "versions": {name: metadata.version(name) for name in _LIBRARIES},
        "names": [_placed(name, at) for name, at in zip(names, placed_words, strict=True)],
        "prompts": {str(length): _rounded(at) for length, at in placed_prompts.items()},
        "nearness": numbers,
    }


def _jobs(backbone: str, settings: Settings, chosen: MapSettings) -> dict[int, EditJob]:
    """A plan's job per length, of those that have weights."""
    point = GridPoint(
        backbone=backbone, editor=RECIPE, dataset=chosen.dataset, n_edits=chosen.edits,
        seed=chosen.seed, limit=chosen.edits,
    )  # fmt: skip
    jobs: dict[int, EditJob] = {}
    reason: UntrainedEditorError | None = None
    for length in chosen.lengths:
        changed = {RECIPE: variant(f"cpt={length}").hparams}
        try:
            (jobs[length],) = plan([point], replace(settings, hparams=changed))
        except UntrainedEditorError as error:
            reason = error
    if not jobs and reason is not None:
        raise reason
    return jobs


def _mapped(
    words: Vectors,
    prompts: Mapping[int, Vectors],
    chosen: MapSettings,
    told: Callable[[int], None],
) -> tuple[Positions, dict[int, Positions], list[dict[str, Any]]]:
    """Positions of names [N, 2] and prompts [E, l, 2] in the drawn map, and all numbers."""
    flat = {length: found.reshape(-1, found.shape[-1]) for length, found in prompts.items()}
    numbers = [{"space": "embeddings", **one} for one in _nearness(words, flat)]
    joint = np.concatenate([words, *flat.values()])
    borders = np.cumsum([len(words), *(len(found) for found in flat.values())])[:-1]
    drawn: tuple[Positions, dict[int, Positions]] | None = None
    for perplexity in chosen.perplexities:
        for start in chosen.starts:
            placed, *rest = np.split(tsne(joint, perplexity=perplexity, start=start), borders)
            told(1)
            by_length = dict(zip(flat, rest, strict=True))
            where = {"space": "map", "perplexity": perplexity, "start": start}
            numbers += [where | one for one in _nearness(placed, by_length)]
            if (perplexity, start) == (chosen.drawn_perplexity, chosen.drawn_start):
                drawn = placed, by_length
    if drawn is None:
        raise ValueError("The map that is drawn must be among those that are computed.")
    shaped = {n: at.reshape(*prompts[n].shape[:2], 2) for n, at in drawn[1].items()}
    return drawn[0], shaped, numbers


def _nearness(words: Vectors, prompts: Mapping[int, Any]) -> Iterator[dict[str, Any]]:
    for length, points in prompts.items():
        yield {"prompt_length": length, **nearness(points, words).to_dict()}


def _placed(name: Name, at: Vectors) -> dict[str, Any]:
    return {**asdict(name), "at": _rounded(at)}


def _rounded(positions: Vectors) -> Any:
    return np.round(positions.astype(np.float64), _DIGITS).tolist()


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists for tuples, as JSON gives them back."""
    return {
        name: list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
        for name, value in values.items()
    }

"""Bootstrap intervals of a cell's scores: how sure one seed is.

Blocks of sequential edits are independent measurements, so they are drawn anew, with replacement.
A cell with fewer than `BLOCKS` draws its samples instead. These were edited one after the other
into one model and depend on each other: such an interval says what other samples would have scored,
and not what another sequence of edits would have done to the model. It is too narrow, and is marked
as dependent wherever it is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.evaluation.metrics import ASPECTS, MEASURES, SampleRow, item_scores, sample_scores

BLOCKS = 5  # below, samples are drawn (ours)
DRAWS = 1_000
LEVEL = 0.95
_AT_ONCE = 50  # draws, for memory

Array = NDArray[np.float64]


def intervals(rows: Sequence[SampleRow]) -> dict[str, Any]:
    """The middle 95 % of resampled scores after editing, in [0, 1]; empty without rows.

    `over` is `blocks` or `samples`, `scores[channel][measure]` maps reliability, generality,
    locality and average to [low, high]; what a cell does not have is absent. Equal rows give equal
    intervals.
    """
    if not rows:
        return {}
    blocks = [row["block"] for row in rows]
    over = "blocks" if len(set(blocks)) >= BLOCKS else "samples"
    units = np.unique(blocks, return_inverse=True)[1] if over == "blocks" else np.arange(len(rows))
    asked = rows[0]["items"][0]["after"]
    scores: dict[str, Any] = {}
    for channel in (name for name in MEASURES if name in asked):
        scores[channel] = {}
        for measure in MEASURES[channel]:
            own = [sample_scores(item_scores(row, "after", channel, measure)) for row in rows]
            values = np.array([[each.get(aspect, np.nan) for aspect in ASPECTS] for each in own])
            scores[channel][measure] = _interval(values, units)
    return {"over": over, "scores": scores}


def _interval(values: Array, units: NDArray[np.intp]) -> dict[str, list[float]]:
    """Aspect -> [low, high] of values [samples, aspects], NaN where a sample has none."""
    n_units = int(units.max()) + 1
    totals, counts = np.zeros((2, n_units, values.shape[1]))
    np.add.at(totals, units, np.nan_to_num(values))
    np.add.at(counts, units, ~np.isnan(values))
    generator, means = np.random.default_rng(0), []
    for _ in range(0, DRAWS, _AT_ONCE):
        drawn = generator.multinomial(n_units, np.full(n_units, 1 / n_units), size=_AT_ONCE)
        with np.errstate(invalid="ignore"):  # 0 / 0: no drawn sample has the aspect
            means.append((drawn @ totals) / (drawn @ counts))
    scores = np.concatenate(means)  # [draws, aspects]
    columns: dict[str, Array] = {
        a: scores[:, i] for i, a in enumerate(ASPECTS) if counts[:, i].any()
    }
    if len(columns) == len(ASPECTS):
        columns["average"] = scores.mean(axis=1)
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    return {name: np.nanquantile(each, tails).tolist() for name, each in columns.items()}

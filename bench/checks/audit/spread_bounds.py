"""How large a printed spread can be, where it is printed, and what it does not depend on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from bench.checks.audit.findings import Finding, Numbers
from bench.checks.audit.significant import SEEDS
from bench.checks.claims.base import EDITING_TABLES
from bench.core.names import DATASETS
from bench.core.published import PublishedCell
from bench.datasets import get_dataset

# Bands of Avg, in points. Nearer to 0 or 100 than these a spread is small whatever its source.
MIDDLE, EDGE, WIDE = (30.0, 70.0), (90.0, 98.0), (10.0, 90.0)


def find(numbers: Numbers) -> Iterator[Finding]:
    """Per table: where spreads stand, whether they are possible, level by level, set by set."""
    for table in EDITING_TABLES:
        stds = {
            place: number.std
            for place, number in numbers.items()
            if place.table == table and number.std is not None
        }
        if stds:
            yield _where(numbers, table, stds)
            yield from _possible(numbers, table, stds)
            yield _by_level(numbers, table, stds)
            yield _by_dataset(numbers, table, stds)


def largest_std(mean: float, count: int) -> float:
    """The largest sample standard deviation of `count` values in [0, 100] with this mean.

    As many values as possible are at the ends, one is between.
    """
    at_top, rest = divmod(count * mean, 100.0)
    squares = at_top * 100.0**2 + rest**2
    return math.sqrt(max(0.0, squares - count * mean**2) / (count - 1))


def _where(numbers: Numbers, table: int, stds: dict[PublishedCell, float]) -> Finding:
    metrics = ", ".join(dict.fromkeys(place.metric for place in stds))
    bare = sum(place.table == table for place in numbers) - len(stds)
    return Finding(
        place=f"table{table}/where",
        verdict="not tested",
        sentence=f"Table {table} prints a spread for {metrics} alone ({len(stds)} numbers); the "
        f"other {bare} have none and cannot be tested.",
        numbers={"with": len(stds), "without": bare},
    )


def _possible(numbers: Numbers, table: int, stds: dict[PublishedCell, float]) -> Iterator[Finding]:
    limits = {place: _limit(place, numbers[place].value) for place in stds}
    over = [place for place in stds if stds[place] - place.unit / 2 > limits[place]]
    near = max(stds, key=lambda place: stds[place] / limits[place])
    yield Finding(
        place=f"table{table}/possible",
        verdict="differs" if over else "holds",
        sentence=f"Table {table}: {len(stds) - len(over)} of {len(stds)} spreads are possible for "
        f"{SEEDS} values between 0 and 100 with the printed mean; nearest to the limit: "
        f"{near.editor}, {near.where}, {stds[near]:.2f} of at most {limits[near]:.2f}.",
        numbers={"spreads": len(stds), "over": len(over)},
    )
    for place in over:
        yield Finding(
            place=f"table{table}/possible/{place.editor}/{place.dataset}/{place.n_edits}",
            verdict="impossible",
            sentence=f"Table {table}, {place.editor}, {place.where}: {SEEDS} values between 0 and "
            f"100 with the mean {numbers[place].value:.2f} have a standard deviation of at most "
            f"{limits[place]:.2f}; {stds[place]:.2f} is printed.",
            numbers={"std": stds[place], "limit": limits[place]},
        )


def _limit(place: PublishedCell, mean: float) -> float:
    """The largest standard deviation of any mean that is printed so."""
    half = place.unit / 2
    return max(largest_std(min(max(m, 0.0), 100.0), SEEDS) for m in (mean - half, mean + half))


def _by_level(numbers: Numbers, table: int, stds: dict[PublishedCell, float]) -> Finding:
    middle, edge = ([p for p in stds if _in(numbers[p].value, b)] for b in (MIDDLE, EDGE))
    pooled = [_pooled([stds[place] for place in band]) for band in (middle, edge)]
    most = [math.sqrt(fmean(_bernoulli(numbers[p].value) for p in b)) for b in (middle, edge)]
    return Finding(
        place=f"table{table}/level",
        verdict="noted",
        sentence=f"Table {table}: the pooled spread is {pooled[0]:.2f} where Avg is "
        f"{MIDDLE[0]:.0f} to {MIDDLE[1]:.0f} ({len(middle)} cells) and {pooled[1]:.2f} where it is "
        f"{EDGE[0]:.0f} to {EDGE[1]:.0f} ({len(edge)} cells), a ratio of "
        f"{pooled[1] / pooled[0]:.2f}; that of the largest possible sampling errors is "
        f"{most[1] / most[0]:.2f}.",
        numbers={"middle": pooled[0], "edge": pooled[1], "limits_ratio": most[1] / most[0]},
    )


def _by_dataset(numbers: Numbers, table: int, stds: dict[PublishedCell, float]) -> Finding:
    sets = [get_dataset(key) for key in DATASETS]
    rows = {one.label: one.files["test"].rows for one in sets}
    cells = {
        label: [s for p, s in stds.items() if p.dataset == label and _in(numbers[p].value, WIDE)]
        for label in rows
    }
    pooled = {label: _pooled(found) for label, found in cells.items()}
    large, small = max(rows, key=rows.__getitem__), min(rows, key=rows.__getitem__)
    listed = ", ".join(
        f"{label} {pooled[label]:.2f} ({len(cells[label])} cells, {rows[label]:,} test rows)"
        for label in rows
    )
    return Finding(
        place=f"table{table}/datasets",
        verdict="noted",
        sentence=f"Table {table}: the pooled spread where Avg is {WIDE[0]:.0f} to {WIDE[1]:.0f} is "
        f"{listed}; {small} has {pooled[small] / pooled[large]:.2f} times that of {large}, where "
        f"samples in proportion to the rows would give {math.sqrt(rows[large] / rows[small]):.1f} "
        "times if they scattered alike.",
        numbers=pooled,
    )


def _in(value: float, band: tuple[float, float]) -> bool:
    return band[0] <= value <= band[1]


def _pooled(stds: Sequence[float]) -> float:
    return math.sqrt(fmean(std**2 for std in stds))


def _bernoulli(percent: float) -> float:
    """The variance of a score in [0, 100] with this mean cannot be larger."""
    return percent * (100.0 - percent)

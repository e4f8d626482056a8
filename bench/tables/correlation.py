"""Whether editors come in the paper's order: rank correlation of our averages with the published.

It compares orders on another backbone and other data; equal orders do not make equal results.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.datasets import get_dataset
from bench.tables.layout import EMPTY
from bench.tables.tabulate import Row, TableData

if TYPE_CHECKING:
    from rich.table import Table as RichTable

COLUMN = "Avg"
DRAWS = 9_999  # random permutations where all of them are more than that (ours)
COVERAGE = 0.95

Ranks = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Spearman's rho over k editors, beside what rho does when editors are paired at random."""

    n_edits: int
    dataset: str | None  # key; None: the mean over all data sets of the table
    editors: int
    rho: float | None  # None: fewer than three editors, or all of them equal
    interval: tuple[float, float] | None = None  # of rho; None for fewer than four editors
    low: float | None = None  # the middle 95 % of the permutations
    high: float | None = None
    p: float | None = None  # share of permutations that are at least as far from 0


def correlations(data: TableData) -> Iterator[Correlation]:
    """Per number of edits: each data set, then the mean over all of them."""
    for n_edits in dict.fromkeys(row.n_edits for row in data.rows):
        groups: list[tuple[str, ...]] = [(key,) for key in data.datasets]
        groups += [data.datasets] if len(groups) > 1 else []
        for datasets in groups:
            ours, theirs = _averages(data, n_edits, datasets)
            yield correlate(n_edits, datasets[0] if len(datasets) == 1 else None, ours, theirs)


def correlate(
    n_edits: int, dataset: str | None, ours: Sequence[float], theirs: Sequence[float]
) -> Correlation:
    """The correlation of paired averages, one pair per editor."""
    count = len(ours)
    if count < 3 or len(set(ours)) == 1 or len(set(theirs)) == 1:
        return Correlation(n_edits=n_edits, dataset=dataset, editors=count, rho=None)
    first, second = _standard_ranks(ours), _standard_ranks(theirs)
    rho = float(first @ second)
    chance = _permuted(second) @ first  # [permutations]
    low, high = np.quantile(chance, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    far = np.abs(chance) >= abs(rho) - 1e-12  # equal up to rounding counts as equal
    return Correlation(
        n_edits=n_edits,
        dataset=dataset,
        editors=count,
        rho=rho,
        interval=_interval(rho, count),
        low=float(low),
        high=float(high),
        p=float(far.mean()),
    )


def caption(data: TableData) -> tuple[str, ...]:
    """What stands over the correlations."""
    compared = (
        f"Spearman's rho over the editors, of our Avg on {data.backbone} with the published Avg "
        f"on {data.table.published_backbone}."
    )
    chance = (
        f"Interval: of rho, {COVERAGE:.0%}, over editors of this kind (Bonett and Wright, 2000). "
        f"Chance: the middle {COVERAGE:.0%} of rho when editors are paired at random; p: how often "
        "it is as far from 0 then. It compares the order of the editors alone, on another "
        "backbone and other data."
    )
    return (
        compared,
        chance,
        data.caption.measured,
        data.caption.protocol,
        data.caption.seeds,
        *filter(None, [data.caption.changes]),
    )


def rank_table(found: Iterable[Correlation]) -> RichTable:
    """The correlations for the terminal."""
    from rich.table import Table as RichTable

    table = RichTable()
    for name in ("n", "data", "editors", "rho", "interval", "chance", "p"):
        table.add_column(name, justify="left" if name == "data" else "right", no_wrap=True)
    for one in found:
        table.add_row(*_texts(one))
    return table


def _texts(one: Correlation) -> tuple[str, ...]:
    name = "all" if one.dataset is None else get_dataset(one.dataset).label
    lead = (f"{one.n_edits:,}", name, str(one.editors))
    if one.rho is None:
        return (*lead, EMPTY, EMPTY, EMPTY, EMPTY)
    interval = "{:+.2f} to {:+.2f}".format(*one.interval) if one.interval else EMPTY
    chance = f"{one.low:+.2f} to {one.high:+.2f}"
    return (*lead, f"{one.rho:+.2f}", interval, chance, f"{one.p:.4f}")


def _interval(rho: float, count: int) -> tuple[float, float] | None:
    """Fisher's transform with Bonett and Wright's variance for ranks (Psychometrika 65, 2000)."""
    if count < 4:
        return None
    if abs(rho) > 1 - 1e-12:
        return rho, rho
    from scipy.stats import norm

    half = norm.ppf((1 + COVERAGE) / 2) * math.sqrt((1 + rho**2 / 2) / (count - 3))
    center = math.atanh(rho)
    return math.tanh(center - half), math.tanh(center + half)


def _averages(
    data: TableData, n_edits: int, datasets: Sequence[str]
) -> tuple[list[float], list[float]]:
    """Our and the paper's mean over the data sets, of the editors that have both everywhere."""
    ours, theirs = [], []
    for row in data.rows:
        if row.n_edits == n_edits:
            pairs = [pair for key in datasets if (pair := _pair(data, row, key))]
            if len(pairs) == len(datasets):
                ours.append(fmean(mine for mine, _ in pairs))
                theirs.append(fmean(their for _, their in pairs))
    return ours, theirs


def _pair(data: TableData, row: Row, dataset: str) -> tuple[float, float] | None:
    """Our and the published average of an editor on one data set, None where one is missing."""
    entry = data.entries.get((row.n_edits, row.editor, dataset))
    mine = entry.values.get(COLUMN) if entry else None
    label = get_dataset(dataset).label
    theirs = data.published.get((row.n_edits, row.label, label, COLUMN))
    return (mine.mean, theirs.value) if mine and theirs else None


def _standard_ranks(values: Sequence[float]) -> Ranks:
    """Ranks (ties share their mean rank), centred and of unit length."""
    from scipy.stats import rankdata

    ranks = np.asarray(rankdata(values), dtype=np.float64)
    ranks -= ranks.mean()
    standard: Ranks = ranks / np.linalg.norm(ranks)
    return standard


def _permuted(ranks: Ranks) -> Ranks:
    """All orders of the ranks [P, k], or the given one and random others where all are too many."""
    if math.factorial(len(ranks)) <= DRAWS + 1:
        return np.array(list(permutations(ranks)))
    generator = np.random.default_rng(0)
    drawn = generator.permuted(np.tile(ranks, (DRAWS, 1)), axis=1)
    return np.concatenate([ranks[None], drawn])  # so that p is never 0

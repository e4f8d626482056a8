"""Whether editors come in the paper's order: rank correlation of our averages with the published.

It compares orders on another backbone and other data; equal orders do not make equal results.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from statistics import fmean

import numpy as np
import numpy.typing as npt

from bench.tables.editing import LED, EditingView
from bench.tables.table import EMPTY, TextTable

DRAWS = 9_999  # random permutations where all of them are more than that (ours)
COVERAGE = 0.95

_HEAD = "Spearman's rho over the editors, of our Avg on {ours} with the published Avg on {theirs}."
_ABOUT = (
    f"Interval: of rho, {COVERAGE:.0%}, over editors of this kind (Bonett and Wright, 2000). "
    f"Chance: the middle {COVERAGE:.0%} of rho when editors are paired at random; p: how often "
    "it is as far from 0 then. It compares the order of the editors alone, on another backbone and "
    "other data."
)

Ranks = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Spearman's rho over k editors, beside what rho does when editors are paired at random."""

    n_edits: int
    dataset: str | None  # label; None: the mean over all data sets of the table
    editors: int
    rho: float | None  # None: fewer than three editors, or all of them equal
    interval: tuple[float, float] | None = None  # of rho; None for fewer than four editors
    chance: tuple[float, float] | None = None  # the middle 95 % of the permutations
    p: float | None = None  # share of permutations that are at least as far from 0


def correlations(view: EditingView) -> Iterator[Correlation]:
    """Per number of edits: each data set, then the mean over all of them."""
    datasets = tuple(dict.fromkeys(n.dataset for n in view.numbers))
    groups = [*((label,) for label in datasets), *([datasets] if len(datasets) > 1 else [])]
    for n_edits in dict.fromkeys(row.n_edits for row in view.rows):
        for group in groups:
            ours, theirs = _averages(view, n_edits, group)
            yield correlate(n_edits, group[0] if len(group) == 1 else None, ours, theirs)


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
        n_edits=n_edits, dataset=dataset, editors=count, rho=rho, interval=_interval(rho, count),
        chance=(float(low), float(high)), p=float(far.mean()),
    )  # fmt: skip


def rank_table(view: EditingView) -> TextTable:
    """The correlations as lines of text."""
    about = view.about
    head = _HEAD.format(ours=view.rows[0].backbone, theirs=view.table.published_backbone)
    measured = (about.measured, about.protocol, about.seeds, about.changes)
    return TextTable(
        caption=(head, _ABOUT, *filter(None, measured)),
        groups=(("", ("n", "data")), ("", ("editors", "rho", "interval", "chance", "p"))),
        rows=tuple(map(_texts, correlations(view))),
    )


def _texts(line: Correlation) -> tuple[str, ...]:
    lead = (f"{line.n_edits:,}", line.dataset or "all", str(line.editors))
    if line.rho is None or line.chance is None:
        return (*lead, EMPTY, EMPTY, EMPTY, EMPTY)
    interval, chance = (
        EMPTY if ends is None else "{:+.2f} to {:+.2f}".format(*ends)
        for ends in (line.interval, line.chance)
    )
    return (*lead, f"{line.rho:+.2f}", interval, chance, f"{line.p:.4f}")


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
    view: EditingView, n_edits: int, datasets: Sequence[str]
) -> tuple[list[float], list[float]]:
    """Our and the paper's mean over the data sets, of the editors that have both everywhere."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for n in view.numbers:
        if n.row.n_edits == n_edits and n.metric == LED and n.dataset in datasets:
            own = pairs.setdefault(n.row.label, [])
            own += [(n.ours.mean, n.published.value)] if n.ours and n.published else []
    whole = [own for own in pairs.values() if len(own) == len(datasets)]
    return [fmean(a for a, _ in own) for own in whole], [fmean(b for _, b in own) for own in whole]


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

"""Means over data sets, with their spread over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from bench.core.numerics import Spread, spread
from bench.store.results import Record
from bench.tables.columns import MAIN, SHOWN
from bench.tables.tabulate import METRICS


def scores(record: Record) -> dict[str, float]:
    """Rel, Gen, Loc and Avg after editing, in percent; those without items are absent."""
    found = record["summary"]["scores"]["after"][SHOWN[MAIN].channel][SHOWN[MAIN].measure]
    return {column: 100 * found[name] for column, name in METRICS.items() if name in found}


def over_datasets(records: Sequence[Record], datasets: Sequence[str]) -> Mapping[str, Spread]:
    """Column -> mean over the data sets, one value per seed that has all of them.

    Empty where no seed does: a mean over fewer data sets is another quantity.
    """
    by_seed: dict[int, dict[str, dict[str, float]]] = {}
    for record in records:
        cell = record["cell"]
        by_seed.setdefault(cell["seed"], {})[cell["dataset"]] = scores(record)
    whole = [found for found in by_seed.values() if set(datasets) <= set(found)]
    return {
        column: spread([fmean(found[key][column] for key in datasets) for found in whole])
        for column in METRICS
        if whole and all(column in found[key] for found in whole for key in datasets)
    }

"""Scores of a block's edits by the number of edits that came after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from bench.evaluation.rows import MEASURES, ItemRow, SampleRow, score

AGES = 10  # groups of edits by age


def by_age(rows: Sequence[SampleRow], n_edits: int) -> Iterator[dict[str, Any]]:
    """Token accuracy by the number of edits that came after, in equal groups, youngest first."""
    groups = min(AGES, n_edits)
    for number in range(groups):
        first, last = number * n_edits // groups, (number + 1) * n_edits // groups
        ages = range(first, last)
        members = [row for row in rows if n_edits - 1 - row["position"] in ages]
        scores = {aspect: _mean(members, aspect) for aspect in ("reliability", "generality")}
        yield {"from": first, "to": last - 1, "samples": len(members), **scores}


def accuracy(item: ItemRow) -> float:
    """Teacher-forced token accuracy of an item after editing."""
    (channel, measures), *_ = MEASURES.items()
    return score(item, "after", channel, measures[0])


def _mean(rows: Sequence[SampleRow], aspect: str) -> float | None:
    """Mean over samples of their mean over items, as cells have it; None without any item."""
    values = [
        fmean(found)
        for row in rows
        if (found := [accuracy(item) for item in row["items"] if item["aspect"] == aspect])
    ]
    return fmean(values) if values else None

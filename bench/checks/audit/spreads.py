"""The printed spreads: what is significant by them, their possible sources, their largest size."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.checks.audit.comparisons import shown
from bench.checks.audit.findings import Finding, Numbers
from bench.checks.claims import EDITING_TABLES, RECIPE
from bench.core.names import DATASETS
from bench.core.numerics import Spread
from bench.core.published import PublishedCell, rivals
from bench.datasets import get_dataset
from bench.tables.significance import LEVEL, TTest, holm, welch

SEEDS = 5  # the paper's number of runs
AVERAGE = "Avg"  # the only metric with a printed spread
# A printed ± that is the standard error of the mean is this much narrower than the spread.
OF_STANDARD_ERROR = math.sqrt(SEEDS)
# FT has no weights of its own to train and draws nothing at random.
DETERMINISTIC = "FT"
# What these retrieve does not depend on the order of the edits.
ORDERLESS = (RECIPE, "LTE", "R-ROME")
CONFIDENCE = 0.975  # of the bound on the number of samples
# Bands of Avg, in points. Nearer to 0 or 100 than these a spread is small whatever its source.
MIDDLE, EDGE, WIDE = (30.0, 70.0), (90.0, 98.0), (10.0, 90.0)

Stds = dict[PublishedCell, float]


@dataclass(frozen=True)
class _Test:
    """RECIPE against another editor in one cell."""

    cell: PublishedCell  # RECIPE's
    rival: PublishedCell
    welch: TTest
    corrected: float  # Holm's p over the table

    @property
    def significant(self) -> bool:
        """RECIPE is better, at the captions' level."""
        return self.welch.t > 0 and self.welch.p < LEVEL


def significance(numbers: Numbers) -> Iterator[Finding]:
    """Each table cell by cell, then over all its tests, then for the other meaning of `±`."""
    for table in dict.fromkeys(cell.table for cell in numbers):
        if all(number.std is None for c, number in numbers.items() if c.table == table):
            yield Finding(
                f"table{table}",
                "not tested",
                f"Table {table} prints no spread; nothing in it can be tested.",
            )
        elif table in EDITING_TABLES:
            yield from _table(numbers, table)


def _table(numbers: Numbers, table: int) -> Iterator[Finding]:
    cells = [c for c in numbers if (c.table, c.editor, c.metric) == (table, RECIPE, AVERAGE)]
    tests = _tests(numbers, cells)
    for cell in cells:
        yield _in_cell(numbers, cell, [test for test in tests if test.cell == cell])
    yield _corrected(table, tests)
    yield _as_standard_errors(table, tests, _tests(numbers, cells, scale=OF_STANDARD_ERROR))


def _tests(numbers: Numbers, cells: Sequence[PublishedCell], *, scale: float = 1.0) -> list[_Test]:
    """Every defined test of one table, against each other editor; `scale` widens the spreads."""

    def spread(cell: PublishedCell) -> Spread:
        std = numbers[cell].std
        return Spread(numbers[cell].value, None if std is None else std * scale, SEEDS)

    pairs = [(cell, rival) for cell in cells for rival in rivals(numbers, cell)]
    tested = [(*pair, test) for pair in pairs if (test := welch(*map(spread, pair)))]
    corrected = holm([test.p for *_, test in tested])
    return [_Test(*test, p) for test, p in zip(tested, corrected, strict=True)]


def _in_cell(numbers: Numbers, cell: PublishedCell, tests: Sequence[_Test]) -> Finding:
    """RECIPE against the best other editor, and how many of the others it is better than."""
    name = f"table{cell.table}/{cell.dataset}/{cell.n_edits}"
    where = f"Table {cell.table}, {cell.where}"
    other = max(rivals(numbers, cell), key=lambda rival: numbers[rival].value)
    best = next((test for test in tests if test.rival == other), None)
    if best is None:
        return Finding(
            name,
            "not tested",
            f"{where}: RECIPE and the best other, {other.editor}, have no spreads to test with.",
        )
    weak = [test.rival.editor for test in tests if not test.significant]
    listed = ", ".join(weak)
    rest = f"not significant against {listed}" if weak else f"significant against all {len(tests)}"
    t, df, p = best.welch.t, best.welch.df, best.welch.p
    return Finding(
        name,
        "fails" if weak else "holds",
        f"{where}: RECIPE {shown(cell, numbers[cell])}, best other {other.editor} "
        f"{shown(other, numbers[other])}: t = {t:.2f}, df = {df:.1f}, p = {p:.2g}, after Holm "
        f"{best.corrected:.2g}; {rest}.",
        {"t": t, "df": df, "p": p, "p_holm": best.corrected, "not_significant": len(weak)},
    )


def _corrected(table: int, tests: Sequence[_Test]) -> Finding:
    lost = [test for test in tests if test.significant and test.corrected >= LEVEL]
    listed = "; ".join(
        f"{test.rival.editor}, {test.cell.where}, {test.welch.p:.2g} to {test.corrected:.2g}"
        for test in lost
    )
    alone = sum(test.significant for test in tests)
    after = alone - len(lost)
    return Finding(
        f"table{table}/holm",
        "holds" if after == len(tests) else "fails",
        f"Table {table}: of {len(tests)} tests {alone} have p < {LEVEL} alone, {after} after Holm"
        + (f"; lost: {listed}." if lost else "."),
        {"tests": len(tests), "alone": alone, "after_holm": after},
    )


def _as_standard_errors(table: int, tests: Sequence[_Test], wider: Sequence[_Test]) -> Finding:
    as_std, as_error = (sum(test.significant for test in some) for some in (tests, wider))
    cells = {test.cell for test in wider}
    doubtful = {test.cell for test in wider if not test.significant}
    return Finding(
        f"table{table}/standard-error",
        "noted",
        f"Table {table} does not say what ± is: read as standard deviations {as_std} of "
        f"{len(tests)} tests are significant, read as standard errors of the mean {as_error}, and "
        f"{len(doubtful)} of {len(cells)} cells have an editor that RECIPE is not significantly "
        "better than.",
        {
            "tests": len(tests),
            "significant_as_std": as_std,
            "significant_as_error": as_error,
            "doubtful_cells": len(doubtful),
        },
    )


def spreads(numbers: Numbers) -> Iterator[Finding]:
    """Where spreads cannot come from, then, table by table, how large they can be."""
    rows = {dataset.label: dataset.files["test"].rows for dataset in map(get_dataset, DATASETS)}
    for table in EDITING_TABLES:
        for label, count in rows.items():
            yield from _from_order(numbers, table, label, count)
    for table in EDITING_TABLES:
        stds = {
            cell: number.std
            for cell, number in numbers.items()
            if cell.table == table and number.std is not None
        }
        if stds:
            yield _where(numbers, table, stds)
            yield from _possible(numbers, table, stds)
            yield _by_level(numbers, table, stds)
            yield _by_dataset(numbers, table, stds, rows)


def most_samples(mean: float, std: float) -> float:
    """At most how many drawn samples a run give this spread over runs of an average, in percent.

    A score in [0, 100] has a variance of at most mean x (100 - mean), and the mean of N drawn
    samples one N times smaller; the true variance over runs is at least the printed one times
    (seeds - 1) / chi2, with `CONFIDENCE`.
    """
    from scipy.stats import chi2

    factor = float(chi2.ppf(CONFIDENCE, SEEDS - 1)) / (SEEDS - 1)
    return mean * (100.0 - mean) / std**2 * factor


def largest_std(mean: float, count: int) -> float:
    """The largest sample standard deviation of `count` values in [0, 100] with this mean.

    As many values as possible are at the ends, one is between.
    """
    at_top, rest = divmod(count * mean, 100.0)
    squares = at_top * 100.0**2 + rest**2
    return math.sqrt(max(0.0, squares - count * mean**2) / (count - 1))


def _from_order(numbers: Numbers, table: int, label: str, rows: int) -> Iterator[Finding]:
    """Cells whose spread cannot come from the order in which samples are edited.

    FT at 1 edit, then the cells with as many edits as there are rows: their one block holds all.
    """
    for editor in (DETERMINISTIC, *ORDERLESS):
        cell = PublishedCell(table, 1 if editor == DETERMINISTIC else rows, editor, label, AVERAGE)
        number = numbers.get(cell)
        if number is None or number.std is None:
            continue
        source = "it has another source, such as training again"
        why = (
            f"every run edits and asks for all {rows:,} test rows, and what {editor} retrieves "
            "does not depend on their order"
        )
        if editor == DETERMINISTIC:
            most = most_samples(number.value, number.std) if number.std else rows
            drawn = f"at most {most:,.0f}" if most < rows else "some"
            source = f"runs over {drawn} of them, drawn at random, explain it"
            why = (
                f"{editor} trains and draws nothing and edits each sample alone, so runs over all "
                f"{rows:,} test rows have the same Avg"
            )
        printed = f"±{number.std:.2f} is printed" + (f"; {source}" if number.std else "")
        yield Finding(
            f"table{table}/order/{label}/{cell.n_edits}/{editor}",
            "impossible" if number.std else "holds",
            f"Table {table}, {cell.where}: {why}; {printed}.",
            {"std": number.std},
        )


def _where(numbers: Numbers, table: int, stds: Stds) -> Finding:
    metrics = ", ".join(dict.fromkeys(cell.metric for cell in stds))
    bare = sum(cell.table == table for cell in numbers) - len(stds)
    return Finding(
        f"table{table}/where",
        "not tested",
        f"Table {table} prints a spread for {metrics} alone ({len(stds)} numbers); the other "
        f"{bare} have none and cannot be tested.",
        {"with": len(stds), "without": bare},
    )


def _possible(numbers: Numbers, table: int, stds: Stds) -> Iterator[Finding]:
    limits = {cell: _limit(cell, numbers[cell].value) for cell in stds}
    over = [cell for cell in stds if stds[cell] - cell.unit / 2 > limits[cell]]
    near = max(stds, key=lambda cell: stds[cell] / limits[cell])
    yield Finding(
        f"table{table}/possible",
        "differs" if over else "holds",
        f"Table {table}: {len(stds) - len(over)} of {len(stds)} spreads are possible for {SEEDS} "
        f"values between 0 and 100 with the printed mean; nearest to the limit: {near.editor}, "
        f"{near.where}, {stds[near]:.2f} of at most {limits[near]:.2f}.",
        {"spreads": len(stds), "over": len(over)},
    )
    for cell in over:
        yield Finding(
            f"table{table}/possible/{cell.editor}/{cell.dataset}/{cell.n_edits}",
            "impossible",
            f"Table {table}, {cell.editor}, {cell.where}: {SEEDS} values between 0 and 100 with "
            f"the mean {numbers[cell].value:.2f} have a standard deviation of at most "
            f"{limits[cell]:.2f}; {stds[cell]:.2f} is printed.",
            {"std": stds[cell], "limit": limits[cell]},
        )


def _limit(cell: PublishedCell, mean: float) -> float:
    """The largest standard deviation of any mean that is printed so."""
    half = cell.unit / 2
    return max(largest_std(min(max(m, 0.0), 100.0), SEEDS) for m in (mean - half, mean + half))


def _by_level(numbers: Numbers, table: int, stds: Stds) -> Finding:
    middle, edge = ([c for c in stds if _in(numbers[c].value, b)] for b in (MIDDLE, EDGE))
    pooled = [_pooled([stds[cell] for cell in band]) for band in (middle, edge)]
    # The variance of a score in [0, 100] is at most mean x (100 - mean).
    means = [[numbers[cell].value for cell in band] for band in (middle, edge)]
    most = [math.sqrt(fmean(mean * (100.0 - mean) for mean in band)) for band in means]
    return Finding(
        f"table{table}/level",
        "noted",
        f"Table {table}: the pooled spread is {pooled[0]:.2f} where Avg is {MIDDLE[0]:.0f} to "
        f"{MIDDLE[1]:.0f} ({len(middle)} cells) and {pooled[1]:.2f} where it is {EDGE[0]:.0f} to "
        f"{EDGE[1]:.0f} ({len(edge)} cells), a ratio of {pooled[1] / pooled[0]:.2f}; that of the "
        f"largest possible sampling errors is {most[1] / most[0]:.2f}.",
        {"middle": pooled[0], "edge": pooled[1], "limits_ratio": most[1] / most[0]},
    )


def _by_dataset(numbers: Numbers, table: int, stds: Stds, rows: dict[str, int]) -> Finding:
    wide = {cell: std for cell, std in stds.items() if _in(numbers[cell].value, WIDE)}
    cells = {label: [s for c, s in wide.items() if c.dataset == label] for label in rows}
    pooled = {label: _pooled(some) for label, some in cells.items()}
    large, small = max(rows, key=rows.__getitem__), min(rows, key=rows.__getitem__)
    listed = ", ".join(
        f"{label} {pooled[label]:.2f} ({len(cells[label])} cells, {count:,} test rows)"
        for label, count in rows.items()
    )
    return Finding(
        f"table{table}/datasets",
        "noted",
        f"Table {table}: the pooled spread where Avg is {WIDE[0]:.0f} to {WIDE[1]:.0f} is "
        f"{listed}; {small} has {pooled[small] / pooled[large]:.2f} times that of {large}, where "
        f"samples in proportion to the rows would give {math.sqrt(rows[large] / rows[small]):.1f} "
        "times if they scattered alike.",
        pooled,
    )


def _in(value: float, band: tuple[float, float]) -> bool:
    return band[0] <= value <= band[1]


def _pooled(stds: Collection[float]) -> float:
    return math.sqrt(fmean(std**2 for std in stds))

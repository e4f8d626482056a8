"""What the printed spreads cannot come from: the order in which samples are edited."""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks.audit.findings import Finding, Numbers
from bench.checks.audit.significant import AVERAGE, SEEDS
from bench.checks.claims.base import EDITING_TABLES, RECIPE
from bench.core.names import DATASETS
from bench.core.published import PublishedCell
from bench.datasets import get_dataset

# FT has no weights of its own to train and draws nothing at random.
DETERMINISTIC = "FT"
# What these retrieve does not depend on which of the edits came first.
ORDERLESS = (RECIPE, "LTE", "R-ROME")
CONFIDENCE = 0.975  # of the bound on the number of samples


def find(numbers: Numbers) -> Iterator[Finding]:
    """Per table and data set: FT at 1 edit, then the cells that hold every sample in one block."""
    for table in EDITING_TABLES:
        for key in DATASETS:
            dataset = get_dataset(key)
            rows = dataset.files["test"].rows
            yield from _alone(
                numbers, PublishedCell(table, 1, DETERMINISTIC, dataset.label, AVERAGE), rows
            )
            # As many edits as there are rows: the one block of each run holds them all.
            for editor in ORDERLESS:
                yield from _whole(
                    numbers, PublishedCell(table, rows, editor, dataset.label, AVERAGE)
                )


def most_samples(mean: float, std: float, seeds: int = SEEDS) -> float:
    """At most how many drawn samples a run give this spread over runs of an average, in percent.

    A score in [0, 100] has a variance of at most mean x (100 - mean), and the mean of N drawn
    samples one N times smaller; the true variance over runs is at least the printed one times
    (seeds - 1) / chi2, with `CONFIDENCE`.
    """
    from scipy.stats import chi2

    factor = float(chi2.ppf(CONFIDENCE, seeds - 1)) / (seeds - 1)
    return mean * (100.0 - mean) / std**2 * factor


def _alone(numbers: Numbers, place: PublishedCell, rows: int) -> Iterator[Finding]:
    why = (
        f"{place.editor} trains and draws nothing and edits each sample alone, so runs over all "
        f"{rows:,} test rows have the same Avg"
    )
    for std in _std(numbers, place):
        most = most_samples(numbers[place].value, std) if std else rows
        drawn = f"at most {most:,.0f}" if most < rows else "some"
        yield _finding(place, std, why, f"runs over {drawn} of them, drawn at random, explain it")


def _whole(numbers: Numbers, place: PublishedCell) -> Iterator[Finding]:
    why = (
        f"every run edits and asks for all {place.n_edits:,} test rows, and what {place.editor} "
        "retrieves does not depend on their order"
    )
    for std in _std(numbers, place):
        yield _finding(place, std, why, "it has another source, such as training again")


def _std(numbers: Numbers, place: PublishedCell) -> Iterator[float]:
    """The printed spread, where there is one."""
    number = numbers.get(place)
    if number is not None and number.std is not None:
        yield number.std


def _finding(place: PublishedCell, std: float, why: str, source: str) -> Finding:
    """A spread that order alone cannot bring about, unless it is printed as none."""
    printed = f"±{std:.2f} is printed" + (f"; {source}" if std else "")
    return Finding(
        place=f"table{place.table}/order/{place.dataset}/{place.n_edits}/{place.editor}",
        verdict="impossible" if std else "holds",
        sentence=f"Table {place.table}, {place.where}: {why}; {printed}.",
        numbers={"std": std},
    )

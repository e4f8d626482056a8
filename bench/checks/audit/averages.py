"""Printed means and sums against the numbers that they are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.checks.audit.findings import Check, Finding, Numbers
from bench.checks.audit.rounding import explains, mean_allowance, sum_allowance
from bench.checks.claims.ability import MEAN
from bench.checks.claims.times import TOTAL
from bench.core.published import PublishedCell


@dataclass(frozen=True, kw_only=True)
class _Made:
    """A printed mean or sum, and what the printed numbers behind it make."""

    place: PublishedCell
    printed: float
    made: float
    allowance: float

    @property
    def off(self) -> float:
        return self.printed - self.made

    @property
    def explained(self) -> bool:
        return explains(self.off, self.allowance)


def find(numbers: Numbers) -> Iterator[Finding]:
    """For each table with means or sums how they come out, then each that rounding cannot make."""
    by_table: dict[int, list[_Made]] = {}
    for place, parts in _derived(numbers):
        by_table.setdefault(place.table, []).append(_made(numbers, place, parts))
    for table, made in by_table.items():
        yield _summary(table, made)
        yield from (_outside(one) for one in made if not one.explained)


def _derived(numbers: Numbers) -> Iterator[tuple[PublishedCell, tuple[PublishedCell, ...]]]:
    """Every mean and sum with the places of its parts, all of one editor at one number of edits."""
    rows: dict[tuple[int, int, str], list[PublishedCell]] = {}
    for place in numbers:
        rows.setdefault(place[:3], []).append(place)
    for row in rows.values():
        for place in row:
            others = (other for other in row if other != place)
            if place.metric == MEAN:  # over the tasks
                yield place, tuple(others)
            elif place.metric in ("Avg", TOTAL):  # on one data set
                yield place, tuple(one for one in others if one.dataset == place.dataset)


def _made(numbers: Numbers, place: PublishedCell, parts: Sequence[PublishedCell]) -> _Made:
    values = [numbers[part].value for part in parts]
    if place.metric == TOTAL:
        made, allowance = sum(values), sum_allowance(place, len(values))
    else:
        made, allowance = fmean(values), mean_allowance(place)
    return _Made(place=place, printed=numbers[place].value, made=made, allowance=allowance)


def _summary(table: int, made: Sequence[_Made]) -> Finding:
    exact = sum(explains(one.off, one.place.unit / 2) for one in made)
    outside = sum(not one.explained for one in made)
    worst = max((abs(one.off) for one in made if one.explained), default=0.0)
    kind = "sums" if made[0].place.metric == TOTAL else "means"
    return Finding(
        place=f"table{table}",
        verdict="differs" if outside else "holds",
        sentence=f"Table {table}: of {len(made)} {kind} {exact} are what their printed "
        f"parts make, {len(made) - exact - outside} more are within rounding (up to {worst:.4f} "
        f"off), {outside} cannot come from it.",
        numbers={"printed": len(made), "exact": exact, "outside": outside, "largest_off": worst},
    )


def _outside(one: _Made) -> Finding:
    place = one.place
    return Finding(
        place=f"table{place.table}/{place.n_edits}/{place.editor}/{place.dataset or place.metric}",
        verdict="impossible",
        sentence=f"Table {place.table}, {place.editor}, {place.where}: {place.metric} is "
        f"printed as {place.text(one.printed)}, its parts make {place.text(one.made)}; "
        f"{abs(one.off):.4f} apart, where rounding allows less than {one.allowance:.4f}.",
        numbers={"printed": one.printed, "made": one.made, "allowance": one.allowance},
    )


CHECK = Check(
    key="averages",
    title="Means and sums",
    rule="Avg is the mean of Rel, Gen and Loc, Table 2's last column the mean of its four tasks, "
    "Table 3's total the sum of edit and inference time. Each number may be half a unit of its "
    "last place off.",
    find=find,
)

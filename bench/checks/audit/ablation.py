"""Table 4 against Table 1, and its unedited model against itself."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean

from bench.checks.audit.findings import Check, Finding, Numbers
from bench.checks.audit.rounding import explains, mean_allowance
from bench.checks.claims.ablation import METRICS, TABLE
from bench.checks.claims.base import RECIPE
from bench.core.published import UNEDITED, PublishedCell

SOURCE_TABLE = 1


def find(numbers: Numbers) -> Iterator[Finding]:
    """RECIPE's row number by number, then what must hold of the unedited model."""
    for place in numbers:
        if (place.table, place.editor) == (TABLE, RECIPE):
            yield _against_table_1(numbers, place)
    yield from _unedited(numbers)


def _against_table_1(numbers: Numbers, place: PublishedCell) -> Finding:
    key = (SOURCE_TABLE, place.n_edits, RECIPE, place.metric)
    parts = [numbers[p].value for p in numbers if (*p[:3], p.metric) == key]
    printed, made = numbers[place].value, fmean(parts)
    allowance = mean_allowance(place)
    agree = explains(printed - made, allowance)
    return Finding(
        place=f"table4/{place.n_edits}/{place.metric}",
        verdict="holds" if agree else "differs",
        sentence=f"Table 4, RECIPE, {place.where}: {place.metric} is printed as "
        f"{place.text(printed)}, Table 1's {len(parts)} data sets make {made:.4f}; "
        f"{printed - made:+.4f}, where rounding allows less than {allowance:.4f}.",
        numbers={"printed": printed, "made": made, "allowance": allowance},
    )


def _unedited(numbers: Numbers) -> Iterator[Finding]:
    """A model that nobody edits agrees with itself, and is the same after any number of edits."""
    places = [p for p in numbers if (p.table, p.editor) == (TABLE, UNEDITED)]
    for metric in METRICS:
        values = [numbers[place].value for place in places if place.metric == metric]
        local = metric == "Loc"
        same = set(values) == {100.0 if local else values[0]}
        listed = " and ".join(f"{value:.2f}" for value in values)
        yield Finding(
            place=f"table4/unedited/{metric}",
            verdict="holds" if same else "impossible",
            sentence=f"Table 4, unedited: {metric} is printed as {listed}; a model that nobody "
            f"edits has {'Loc 100' if local else f'one {metric}'}.",
            numbers={"lowest": min(values), "highest": max(values)},
        )


CHECK = Check(
    key="ablation",
    title="Table 4 against Table 1",
    rule="Table 4 prints means over the three data sets, so its whole RECIPE is the mean of Table "
    "1's RECIPE up to rounding. The unedited model has Loc 100 and does not change with the number "
    "of edits. The ablated rows stand in no other table.",
    find=find,
)

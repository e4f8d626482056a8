"""Claims about RECIPE without its parts: Table 4."""

from __future__ import annotations

from collections.abc import Iterator

from bench.checks.claims.base import RECIPE, Case, Claim, Evidence, select
from bench.core.published import UNEDITED

TABLE = 4
NO_CPT, NO_KS, NEITHER = "minus_CPT", "minus_KS", "minus_BOTH"  # as the table's data name them
METRICS = ("Rel", "Gen", "Loc")
UNEDITED_WITHIN = 1.0  # points (ours)


def _without_cpt(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=(NO_CPT, NEITHER), metrics=METRICS):
        before = values.get(place._replace(editor=UNEDITED))
        if before is not None:
            yield Case(
                where=f"{place.metric} of {place.editor}, {place.where}",
                figures=f"{place.text(values[place])}, unedited {place.text(before)}",
                margin=UNEDITED_WITHIN - abs(values[place] - before),
            )


def _without_ks(evidence: Evidence, table: int) -> Iterator[Case]:
    values = evidence.tables
    for place in select(values, table, editors=(NO_KS,), metrics=("Gen", "Loc")):
        reliability = place._replace(metric="Rel")
        whole = [one._replace(editor=RECIPE) for one in (place, reliability)]
        if values.keys() >= {reliability, *whole}:
            loss, less = (
                values[full] - values[part]
                for full, part in zip(whole, (place, reliability), strict=True)
            )
            yield Case(
                where=f"{place.metric}, {place.where}",
                figures=f"{loss:.2f} points lost, {less:.2f} of Rel",
                margin=loss - less,
            )


CLAIMS = (
    Claim(
        key="without-cpt-unedited",
        text="without continuous prompts RECIPE is at the unedited model's level, within "
        f"{UNEDITED_WITHIN:.0f} point",
        source="discussion of Table 4; the margin is ours",
        tables=(TABLE,),
        cases=_without_cpt,
    ),
    Claim(
        key="without-ks-gen-loc",
        text="without the knowledge sentinel Gen and Loc lose more than Rel",
        source="discussion of Table 4",
        tables=(TABLE,),
        cases=_without_ks,
    ),
)

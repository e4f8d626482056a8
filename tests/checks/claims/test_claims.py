"""Every claim of the printed tables: when it holds, when one number breaks it, without numbers."""

from __future__ import annotations

import pytest

from bench.checks.claims import PRINTED, Claim, Evidence, Exhibit, Judgement, judge
from bench.checks.claims.claim import RETRIEVAL_EDITORS, WEIGHT_EDITORS
from bench.core.published import TABLES, UNEDITED, PublishedCell, load, numbers

BY_KEY = {claim.key: claim for claim in PRINTED}


def judged(key: str, table: int, values: dict[PublishedCell, float]) -> Judgement:
    """The judgement of one claim in one table; its other tables are dropped."""
    judgements = judge(BY_KEY[key], Evidence(tables=values))
    return next(found for found in judgements if found.exhibit == Exhibit("table", table))


def at(
    n_edits: int, editor: str, metric: str, value: float, table: int = 1
) -> dict[PublishedCell, float]:
    return {PublishedCell(table, n_edits, editor, "ZSRE", metric): value}


def ability(editor: str, value: float, n_edits: int = 1_000) -> dict[PublishedCell, float]:
    return {PublishedCell(2, n_edits, editor, "ALL4", "mean"): value}


def seconds(editor: str, metric: str, value: float) -> dict[PublishedCell, float]:
    return {PublishedCell(3, 10_000, editor, "", metric): value}


def ablated(editor: str, rel: float, gen: float, loc: float) -> dict[PublishedCell, float]:
    metrics = {"Rel": rel, "Gen": gen, "Loc": loc}
    return {PublishedCell(4, 100, editor, "MEAN3", name): value for name, value in metrics.items()}


# Claim, table, numbers of which it holds, one changed number that breaks it.
BROKEN_BY_ONE = [
    (
        "recipe-best-average",
        1,
        at(10, "RECIPE", "Avg", 90.0) | at(10, "LTE", "Avg", 89.0) | at(10, "FT", "Avg", 2.0),
        at(10, "LTE", "Avg", 90.5),
    ),
    (
        "retrieval-keeps-locality",
        6,
        at(1, "GRACE", "Loc", 80.0, 6) | at(10, "GRACE", "Loc", 41.0, 6),
        at(10, "GRACE", "Loc", 39.0, 6),
    ),
    (
        "weight-editors-collapse",
        5,
        at(1, "MEMIT", "Avg", 80.0, 5) | at(1_000, "MEMIT", "Avg", 39.0, 5),
        at(1_000, "MEMIT", "Avg", 41.0, 5),
    ),
    (
        "t-patcher-keeps-edits",
        1,
        at(1, "TP", "Gen", 80.0) | at(1_000, "TP", "Gen", 41.0),
        at(1_000, "TP", "Gen", 39.0),
    ),
    (
        "t-patcher-loses-zsre-locality",
        1,
        at(1, "TP", "Loc", 80.0) | at(1_000, "TP", "Loc", 39.0),
        at(1_000, "TP", "Loc", 41.0),
    ),
    (
        "rome-memit-worse-on-llama",
        5,
        at(1, "ROME", "Avg", 60.0) | at(1, "ROME", "Avg", 98.0, 5),
        at(1, "ROME", "Avg", 59.0, 5),
    ),
    (
        "general-ability-lost",
        2,
        ability(UNEDITED, 37.0, 0) | ability("LTE", 35.9),
        ability("LTE", 36.1),
    ),
    (
        "general-ability-kept",
        2,
        ability(UNEDITED, 37.0, 0) | ability("GRACE", 36.1),
        ability("GRACE", 38.1),
    ),
    (
        "general-ability-best",
        2,
        ability(UNEDITED, 37.0, 0) | ability("RECIPE", 36.0) | ability("GRACE", 35.0),
        ability("GRACE", 36.5),
    ),
    (
        "meta-trained-edit-faster",
        3,
        seconds("MEND", "edit_time_s", 0.1) | seconds("FT", "edit_time_s", 1.0),
        seconds("MEND", "edit_time_s", 2.0),
    ),
    (
        "weight-editors-infer-as-unedited",
        3,
        seconds(UNEDITED, "infer_time_s", 1.0) | seconds("FT", "infer_time_s", 1.01),
        seconds("FT", "infer_time_s", 0.97),
    ),
    (
        "memory-editors-infer-slower",
        3,
        seconds("FT", "infer_time_s", 1.0) | seconds("TP", "infer_time_s", 1.04),
        seconds("TP", "infer_time_s", 0.99),
    ),
    (
        "recipe-shortest-total",
        3,
        seconds("RECIPE", "total_time_s", 0.06) | seconds("LTE", "total_time_s", 0.07),
        seconds("LTE", "total_time_s", 0.05),
    ),
    (
        "without-cpt-unedited",
        4,
        ablated(UNEDITED, 27.0, 26.0, 100.0) | ablated("minus_CPT", 27.4, 26.2, 99.9),
        ablated("minus_CPT", 30.0, 26.2, 99.9),
    ),
    (
        "without-ks-gen-loc",
        4,
        ablated("RECIPE", 97.0, 94.0, 97.0) | ablated("minus_KS", 95.0, 89.0, 92.0),
        ablated("minus_KS", 91.0, 89.0, 92.0),  # Rel 6 lost, Gen and Loc 5
    ),
]


def test_every_claim_is_tested_here() -> None:
    assert sorted(key for key, *_ in BROKEN_BY_ONE) == sorted(BY_KEY)
    assert len(BY_KEY) == len(PRINTED)


@pytest.mark.parametrize(
    ("key", "table", "good", "change"), BROKEN_BY_ONE, ids=[key for key, *_ in BROKEN_BY_ONE]
)
def test_a_claim_holds_until_one_number_changes(
    key: str, table: int, good: dict[PublishedCell, float], change: dict[PublishedCell, float]
) -> None:
    holding = judged(key, table, good)
    assert (holding.verdict, holding.broken) == ("holds", ())
    failing = judged(key, table, good | change)
    assert failing.verdict == "fails"
    assert "against it" in failing.figures
    assert judged(key, table, {}).verdict == "not tested"


@pytest.mark.parametrize("claim", PRINTED, ids=lambda claim: claim.key)
def test_a_number_alone_is_not_compared(claim: Claim) -> None:
    """One lone number of each table tests nothing, except a spread around its own median."""
    for table in claim.tables:
        for place, number in numbers(table).items():
            found = judged(claim.key, table, {place: number.value})
            assert all(case.holds for case in found.cases), place
            assert not found.cases or claim.key == "weight-editors-infer-as-unedited"


def test_the_nearest_case_has_the_smallest_margin() -> None:
    values = (
        at(1, "RECIPE", "Avg", 90.0)
        | at(1, "FT", "Avg", 80.0)
        | at(10, "RECIPE", "Avg", 85.0)
        | at(10, "FT", "Avg", 83.0)
        | at(10, "ROME", "Avg", 84.5)
    )
    found = judged("recipe-best-average", 1, values)
    assert found.nearest is not None
    assert found.nearest.margin == pytest.approx(0.5)
    assert found.figures == "nearest of 2: ZSRE, 10 edits: 85.00, ROME 84.50"


def test_another_table_and_another_number_of_edits_are_left_alone() -> None:
    values = at(1, "MEMIT", "Avg", 80.0) | at(100, "MEMIT", "Avg", 79.0)
    assert judged("weight-editors-collapse", 1, values).verdict == "not tested"
    values |= at(1_000, "MEMIT", "Avg", 79.0, table=5)
    assert judged("weight-editors-collapse", 1, values).verdict == "not tested"


def test_two_collapsed_scores_are_not_compared() -> None:
    values = at(1_000, "ROME", "Avg", 0.9) | at(1_000, "ROME", "Avg", 0.2, table=5)
    assert judged("rome-memit-worse-on-llama", 5, values).verdict == "not tested"


def test_a_score_of_nothing_at_one_edit_has_no_share() -> None:
    values = at(1, "FT", "Avg", 0.0) | at(1_000, "FT", "Avg", 0.0)
    assert judged("weight-editors-collapse", 1, values).verdict == "not tested"


def test_without_the_unedited_model_the_median_of_edited_weights_stands_for_it() -> None:
    values: dict[PublishedCell, float] = {}
    for editor, time in (("FT", 1.0), ("ROME", 1.0), ("MEND", 1.03)):
        values |= seconds(editor, "infer_time_s", time)
    found = judged("weight-editors-infer-as-unedited", 3, values)
    assert [case.where for case in found.broken] == ["MEND"]


def test_the_groups_are_those_of_the_tables() -> None:
    frame = load(1)
    families = dict(zip(frame["editor"], frame["type"], strict=True))
    assert {e for e, family in families.items() if family == "MP"} == set(WEIGHT_EDITORS)
    assert {e for e, family in families.items() if family == "RB"} == set(RETRIEVAL_EDITORS)


def test_the_published_verdicts() -> None:
    values = {p: one.value for table in TABLES for p, one in numbers(table).items()}
    published = Evidence(tables=values)
    failing = [
        (found.claim.key, found.exhibit.number, len(found.broken))
        for claim in PRINTED
        for found in judge(claim, published)
        if found.verdict != "holds"
    ]
    assert failing == [
        ("weight-editors-collapse", 1, 2),
        ("weight-editors-collapse", 5, 7),
        ("weight-editors-collapse", 6, 7),
        ("t-patcher-keeps-edits", 1, 3),
        ("t-patcher-keeps-edits", 5, 5),
        ("t-patcher-loses-zsre-locality", 6, 1),
        ("meta-trained-edit-faster", 3, 1),
    ]

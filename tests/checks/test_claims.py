"""Every claim: when it holds, when one number breaks it, and without numbers."""

from __future__ import annotations

import dataclasses

import pytest

from bench.checks.claims import (
    CLAIMS,
    FACT_WRITERS,
    LONG,
    OVERHEAD,
    PRINTED,
    RETRIEVAL_EDITORS,
    TIMES_TABLE,
    UNPRINTED,
    WEIGHT_EDITORS,
)
from bench.checks.judging import Evidence, Judgement, judge
from bench.core.published import PublishedCell, all_numbers, load

BY_KEY = {claim.key: claim for claim in CLAIMS}
PUBLISHED = {cell: number.value for cell, number in all_numbers().items()}
# Claim/table -> what has to be other than printed for it to hold there, then a plausible
# counter-example, which breaks it.
CASES = {
    "recipe-best-average/1": ("", "1:1000:LTE:CF:Avg=94.9"),  # a lead of less than half a point
    "retrieval-keeps-locality/6": ("", "6:10:GRACE:ZSRE:Loc=60"),
    "weight-editors-collapse/1": (
        " ".join(
            f"1:1000:{e}:{d}:Avg=9" for e in ("MALMEN", "WILKE") for d in ("CF", "RIPE", "ZSRE")
        ),
        "1:1000:WILKE:CF:Avg=20",  # 39 % left
    ),
    "t-patcher-keeps-edits/6": ("", "6:1000:TP:RIPE:Rel=33"),  # 60 % left
    "t-patcher-loses-zsre-locality/1": ("", "1:1000:TP:ZSRE:Loc=30"),  # 35 % left
    "rome-memit-worse-on-llama/6": ("", "6:100:ROME:CF:Avg=42"),  # by three quarters of a point
    "general-ability-lost/2": ("", "2:1000:LTE:ALL4:mean=37"),
    "general-ability-kept/2": ("", "2:1000:GRACE:CSQA:accuracy=40.2"),  # a rise is no level
    "general-ability-best/2": ("", "2:1000:GRACE:ALL4:mean=37.65"),
    "meta-trained-edit-faster/3": (
        "3:10000:MALMEN::edit_time_s=0.5",
        "3:10000:MALMEN::edit_time_s=1.71",  # FT takes 1.7205
    ),
    "weight-editors-infer-as-unedited/3": ("", "3:10000:FT::infer_time_s=0.0608"),
    "memory-editors-infer-slower/3": ("", "3:10000:TP::infer_time_s=0.0595"),
    "recipe-shortest-total/3": ("", "3:10000:LTE::total_time_s=0.0680"),
    "without-cpt-unedited/4": ("", "4:100:minus_CPT:MEAN3:Rel=30"),
    # Without the sentinel everything is better, and Rel most.
    "without-ks-gen-loc/4": (
        "",
        "4:100:minus_KS:MEAN3:Rel=99 4:100:minus_KS:MEAN3:Gen=95 4:100:minus_KS:MEAN3:Loc=99.9",
    ),
}


def values(text: str) -> dict[PublishedCell, float]:
    """`table:n:editor:data set:metric=value` of each word."""
    cells = {}
    for word in text.split():
        cell, value = word.split("=")
        table, n, editor, dataset, metric = cell.split(":")
        cells[PublishedCell(int(table), int(n), editor, dataset, metric)] = float(value)
    return cells


def judged(case: str, tables: dict[PublishedCell, float]) -> Judgement:
    """The judgement of `claim/table`."""
    key, number = case.split("/")
    judgements = {j.exhibit.number: j for j in judge(BY_KEY[key], Evidence(tables=tables))}
    return judgements[int(number)]


def holding(case: str) -> dict[PublishedCell, float]:
    """The published numbers, or those nearest to them with which the claim holds."""
    return PUBLISHED | values(CASES[case][0])


def test_every_claim_is_tested_here() -> None:
    assert [case.split("/")[0] for case in CASES] == [claim.key for claim in PRINTED]


@pytest.mark.parametrize("case", CASES)
def test_a_claim_holds_until_a_counter_example_breaks_it(case: str) -> None:
    good, change = holding(case), values(CASES[case][1])
    assert change.keys() <= PUBLISHED.keys()
    assert (judged(case, good).verdict, judged(case, good).broken) == ("holds", ())
    failing = judged(case, good | change)
    assert failing.verdict == "fails"
    assert f"{len(failing.broken)} of {len(failing.cases)}" in failing.figures
    assert judged(case, {}).verdict == "not tested"
    assert "not there: " in judged(case, {}).figures


@pytest.mark.parametrize("case", CASES)
def test_a_claim_needs_all_its_rows(case: str) -> None:
    """Without any row of a table, at any number of edits, it is not tested."""
    table, good = int(case.split("/")[1]), holding(case)
    some = {c for c in good if c.table == table and c.dataset in ("", "ZSRE", "ALL4", "MEAN3")}
    used = {cell for cell in some if judged_without(case, good, cell).verdict != "holds"}
    editors = {cell.editor for cell in used}
    assert editors
    assert editors == ROWS.get(case, editors)
    for cell in used:
        assert judged_without(case, good, cell).verdict == "not tested"
    if table != TIMES_TABLE:
        assert {cell.n_edits for cell in used} <= {0, 1, 10, 100, LONG}


def judged_without(case: str, good: dict[PublishedCell, float], gone: PublishedCell) -> Judgement:
    return judged(case, {cell: value for cell, value in good.items() if cell != gone})


# Whose numbers a claim needs, where that is not plain from its name.
ALL = {row["editor"] for row in load(1)} - {"N/A"}
ROWS = {
    "recipe-best-average/1": ALL,
    "general-ability-best/2": ALL,
    "recipe-shortest-total/3": ALL,
    "weight-editors-collapse/1": set(WEIGHT_EDITORS),
    "retrieval-keeps-locality/6": set(RETRIEVAL_EDITORS),
}


def test_a_rival_is_enough_to_refute_though_others_are_absent() -> None:
    few = values("1:10:RECIPE:ZSRE:Avg=90 1:10:LTE:ZSRE:Avg=95")
    assert judged("recipe-best-average/1", few).verdict == "fails"
    few = values("1:10:RECIPE:ZSRE:Avg=90 1:10:LTE:ZSRE:Avg=5")
    assert judged("recipe-best-average/1", few).verdict == "not tested"


def test_longer_streams_count_where_all_rows_are_there() -> None:
    long = "1:10000:LTE:CF:Avg=99"
    assert judged("recipe-best-average/1", PUBLISHED | values(long)).verdict == "fails"
    gone = PublishedCell(1, 10000, "FT", "CF", "Avg")
    some = {c: v for c, v in (PUBLISHED | values(long)).items() if c != gone}
    assert judged("recipe-best-average/1", some).verdict == "holds"


def test_the_nearest_case_has_the_smallest_margin() -> None:
    judgement = judged("recipe-best-average/1", PUBLISHED)
    assert judgement.nearest is not None
    assert judgement.nearest.margin == pytest.approx(1.35)
    assert judgement.figures == "nearest of 14: CF, 1,000 edits: 95.35, LTE 93.50"


@pytest.mark.parametrize(
    ("case", "change"),
    [
        ("weight-editors-collapse/1", "1:1:FT:ZSRE:Avg=0"),  # there is no share of 0
        ("rome-memit-worse-on-llama/6", "1:1000:ROME:ZSRE:Avg=0.9 6:1000:ROME:ZSRE:Avg=0.2"),
    ],
)
def test_these_numbers_leave_nothing_to_compare(case: str, change: str) -> None:
    whole, less = judged(case, holding(case)), judged(case, holding(case) | values(change))
    assert (less.verdict, len(less.cases)) == ("holds", len(whole.cases) - 1)


def test_times_of_several_numbers_of_edits_are_not_mixed() -> None:
    """All editors have times at 100 edits, some at 1,000, where LTE's total may be the least."""
    times = {c._replace(n_edits=100): v for c, v in PUBLISHED.items() if c.table == TIMES_TABLE}
    at_1000 = values("3:1000:LTE::total_time_s=0.01 3:1000:FT::total_time_s=0.5")
    assert judged("recipe-shortest-total/3", times).figures == (
        "nearest of 1: 100 edits: 0.0676, LTE 0.0710"
    )
    # Times at 1,000 edits of editors that RECIPE is not compared with there say nothing.
    assert judged("recipe-shortest-total/3", times | at_1000).verdict == "holds"
    recipe = values("3:1000:RECIPE::total_time_s=0.02")
    judgement = judged("recipe-shortest-total/3", times | at_1000 | recipe)
    assert judgement.verdict == "fails"
    assert "1,000 edits: 0.0200, LTE 0.0100" in judgement.figures
    fastest = values("3:1000:RECIPE::total_time_s=0.002")  # of three editors alone
    assert judged("recipe-shortest-total/3", times | at_1000 | fastest).verdict == "not tested"


def test_inferences_are_compared_by_the_overhead_that_was_measured() -> None:
    overheads = {
        cell._replace(metric=OVERHEAD): 1.5 if cell.editor in ("GRACE", "TP") else 1.01
        for cell in PUBLISHED
        if cell.table == TIMES_TABLE and cell.metric == "infer_time_s"
    }
    drifted = values("3:10000:FT::infer_time_s=0.09")  # minutes later, on a busy machine
    for case in ("weight-editors-infer-as-unedited/3", "memory-editors-infer-slower/3"):
        assert judged(case, PUBLISHED | drifted).verdict == "fails"
        assert judged(case, PUBLISHED | drifted | overheads).verdict == "holds"


def test_the_groups_are_those_of_the_tables() -> None:
    families = {row["editor"]: row["type"] for row in load(1)}
    assert {e for e, family in families.items() if family == "MP"} == set(WEIGHT_EDITORS)
    assert {e for e, family in families.items() if family == "RB"} == set(RETRIEVAL_EDITORS)


# ---- claims that no printed table decides ------------------------------------------------------

SETS = ("ZSRE", "CF", "RIPE")
RIVAL = "rome-memit-worse-on-llama-without-covariance"


def first(key: str, evidence: Evidence) -> Judgement:
    """In the claim's first table or figure."""
    return judge(BY_KEY[key], evidence)[0]


def at(length: int, rel: float, gen: float, loc: float) -> dict[tuple[int, str], float]:
    return {(length, "Rel"): rel, (length, "Gen"): gen, (length, "Loc"): loc}


def near(space: str, *ratios: float) -> dict[tuple[str, int], float]:
    """Of one, three and five tokens."""
    return {(space, length): ratio for length, ratio in zip((1, 3, 5), ratios, strict=True)}


def memit(llama: float, here: float) -> dict[PublishedCell, float]:
    """Of MEMIT at 10 edits on ZSRE; all else is better on LLaMA-2, which leaves nothing to say."""
    places = [(e, d, n) for e in FACT_WRITERS for d in SETS for n in (1, 10, 100)]
    every = {
        PublishedCell(table, n, editor, dataset, "Avg"): value
        for table, value in ((1, 95.0), (5, 90.0))
        for editor, dataset, n in places
    }
    tables = ((1, llama), (5, here))
    own = {PublishedCell(table, 10, "MEMIT", "ZSRE", "Avg"): value for table, value in tables}
    return every | own


THREE = at(3, 95.0, 94.0, 98.0)
MAP = "map of perplexity 10 from noise 0"
# Claim, evidence for it, evidence against it, how the number against it is reported.
UNPRINTED_CASES = [
    (
        RIVAL,
        Evidence(with_covariance=memit(50.0, 90.0), without_covariance=memit(40.0, 61.0)),
        Evidence(with_covariance=memit(50.0, 90.0), without_covariance=memit(40.0, 59.0)),
        "MEMIT on ZSRE, 10 edits: 40.00 points lower with covariance, 19.00 without",
    ),
    (
        "one-cpt-dips-mostly-in-gen",
        Evidence(lengths=THREE | at(1, 93.0, 90.0, 97.0)),
        Evidence(lengths=THREE | at(1, 93.0, 90.0, 94.4)),
        "Gen and Loc: -4.00 and -3.60 points",
    ),
    (
        "one-cpt-dips-mostly-in-gen",
        Evidence(lengths=THREE | at(1, 93.0, 90.0, 97.0)),
        Evidence(lengths=THREE | at(1, 97.0, 93.6, 99.0)),  # of less than half a point
        "Gen: -0.40 points",
    ),
    (
        "more-cpts-raise-rel-gen",
        Evidence(lengths=THREE | at(4, 95.6, 94.6, 99.0) | at(5, 96.0, 95.0, 99.0)),
        Evidence(lengths=THREE | at(4, 95.6, 94.6, 99.0) | at(5, 96.0, 93.5, 99.0)),
        "Gen with 5 CPTs: -0.50 points",
    ),
    (
        "more-cpts-lower-loc",
        Evidence(lengths=THREE | at(4, 90.0, 90.0, 97.4) | at(5, 90.0, 90.0, 97.0)),
        Evidence(lengths=THREE | at(4, 90.0, 90.0, 97.9) | at(5, 90.0, 90.0, 97.0)),
        "Loc with 4 CPTs: -0.10 points",
    ),
    (
        "three-cpts-nearest-words",
        Evidence(distances=near(MAP, 2.0, 1.0, 1.5) | near("embedding space", 0.9, 1.0, 1.5)),
        Evidence(distances=near(MAP, 2.0, 1.0, 1.5) | near("another map", 2.0, 1.45, 1.5)),
        "another map: distance ratio 1.45 with 3 CPTs, 2.00 with 1, 1.50 with 5",
    ),
    (
        "three-cpts-nearest-words-unmapped",
        Evidence(distances=near("embedding space", 2.0, 1.0, 1.5)),
        Evidence(distances=near("embedding space", 0.9, 1.0, 1.5) | near(MAP, 2.0, 1.0, 1.5)),
        "distance ratio 1.00 with 3 CPTs, 0.90 with 1",
    ),
]


def test_every_unprinted_claim_is_tested_here() -> None:
    assert {key for key, *_ in UNPRINTED_CASES} == {claim.key for claim in UNPRINTED}
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS)


@pytest.mark.parametrize(("key", "good", "bad", "figures"), UNPRINTED_CASES)
def test_a_claim_holds_fails_and_is_not_tested(
    key: str, good: Evidence, bad: Evidence, figures: str
) -> None:
    assert first(key, good).verdict == "holds"
    failing = first(key, bad)
    assert (failing.verdict, len(failing.broken)) == ("fails", 1)
    assert figures in failing.figures
    assert first(key, Evidence()).verdict == "not tested"


def test_the_paper_prints_no_numbers_for_them() -> None:
    published = Evidence(tables={cell: number.value for cell, number in all_numbers().items()})
    judgements = [judgement for claim in UNPRINTED for judgement in judge(claim, published)]
    assert {judgement.verdict for judgement in judgements} == {"not tested"}


def test_eight_tokens_are_ours_and_decide_nothing() -> None:
    evidence = Evidence(lengths=THREE | at(8, 90.0, 90.0, 99.0))
    assert first("more-cpts-lower-loc", evidence).verdict == "not tested"


@pytest.mark.parametrize("missing", [1, 3, 5])
def test_a_map_without_one_of_the_lengths_decides_nothing(missing: int) -> None:
    some = {key: ratio for key, ratio in near(MAP, 2.0, 1.0, 1.5).items() if key[1] != missing}
    assert first("three-cpts-nearest-words", Evidence(distances=some)).verdict == "not tested"


@pytest.mark.parametrize("missing", [4, 5])
def test_figure_3_needs_all_its_lengths(missing: int) -> None:
    others = at(4, 96.0, 95.0, 97.0) | at(5, 96.0, 95.0, 97.0)
    some = {key: value for key, value in others.items() if key[0] != missing}
    for key in ("more-cpts-raise-rel-gen", "more-cpts-lower-loc"):
        assert first(key, Evidence(lengths=THREE | others)).verdict == "holds"
        assert first(key, Evidence(lengths=THREE | some)).verdict == "not tested"


@pytest.mark.parametrize(
    ("usual", "without"),
    [
        ((90.0, 50.0), (10.0, 90.0)),  # better on LLaMA-2
        ((50.0, 50.9), (10.0, 90.0)),  # a gap of less than a point
        ((50.0, 90.0), (0.4, 0.9)),  # collapsed on both without covariance
    ],
)
def test_without_a_gap_there_is_nothing_to_explain(
    usual: tuple[float, float], without: tuple[float, float]
) -> None:
    evidence = Evidence(with_covariance=memit(*usual), without_covariance=memit(*without))
    assert first(RIVAL, evidence).verdict == "not tested"
    explained = dataclasses.replace(evidence, with_covariance=memit(50.0, 90.0))
    assert first(RIVAL, explained).verdict == ("not tested" if without[0] < 1 else "holds")

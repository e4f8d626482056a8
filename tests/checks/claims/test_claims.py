"""Every claim of the printed tables: when it holds, when one number breaks it, without numbers."""

from __future__ import annotations

import pytest

from bench.checks.claims import PRINTED, Claim, Evidence, Judgement, judge
from bench.checks.claims.claim import RETRIEVAL_EDITORS, WEIGHT_EDITORS
from bench.core.published import PublishedCell, all_numbers, load, numbers

BY_KEY = {claim.key: claim for claim in PRINTED}
DATASETS = {1: "ZSRE", 2: "ALL4", 3: "", 4: "MEAN3", 5: "ZSRE", 6: "ZSRE"}
# Claim/table -> numbers of which it holds, then one changed number that breaks it.
CASES = {
    "recipe-best-average/1": (
        "1:10:RECIPE:Avg=90 1:10:LTE:Avg=89 1:10:FT:Avg=2",
        "1:10:LTE:Avg=90.5",
    ),
    "retrieval-keeps-locality/6": ("6:1:GRACE:Loc=80 6:10:GRACE:Loc=41", "6:10:GRACE:Loc=39"),
    "weight-editors-collapse/5": ("5:1:MEMIT:Avg=80 5:1000:MEMIT:Avg=39", "5:1000:MEMIT:Avg=41"),
    "t-patcher-keeps-edits/1": ("1:1:TP:Gen=80 1:1000:TP:Gen=41", "1:1000:TP:Gen=39"),
    "t-patcher-loses-zsre-locality/1": ("1:1:TP:Loc=80 1:1000:TP:Loc=39", "1:1000:TP:Loc=41"),
    "rome-memit-worse-on-llama/5": ("1:1:ROME:Avg=60 5:1:ROME:Avg=98", "5:1:ROME:Avg=59"),
    "general-ability-lost/2": ("2:0:N/A:mean=37 2:1000:LTE:mean=35.9", "2:1000:LTE:mean=36.1"),
    "general-ability-kept/2": ("2:0:N/A:mean=37 2:1000:GRACE:mean=36.1", "2:1000:GRACE:mean=38.1"),
    "general-ability-best/2": (
        "2:0:N/A:mean=37 2:1000:RECIPE:mean=36 2:1000:GRACE:mean=35",
        "2:1000:GRACE:mean=36.5",
    ),
    "meta-trained-edit-faster/3": (
        "3:10000:MEND:edit_time_s=0.1 3:10000:FT:edit_time_s=1",
        "3:10000:MEND:edit_time_s=2",
    ),
    "weight-editors-infer-as-unedited/3": (
        "3:10000:N/A:infer_time_s=1 3:10000:FT:infer_time_s=1.01",
        "3:10000:FT:infer_time_s=0.97",
    ),
    "memory-editors-infer-slower/3": (
        "3:10000:FT:infer_time_s=1 3:10000:TP:infer_time_s=1.04",
        "3:10000:TP:infer_time_s=0.99",
    ),
    "recipe-shortest-total/3": (
        "3:10000:RECIPE:total_time_s=0.06 3:10000:LTE:total_time_s=0.07",
        "3:10000:LTE:total_time_s=0.05",
    ),
    "without-cpt-unedited/4": (
        "4:100:N/A:Rel=27 4:100:N/A:Gen=26 4:100:minus_CPT:Rel=27.4 4:100:minus_CPT:Gen=26.2",
        "4:100:minus_CPT:Rel=30",
    ),
    "without-ks-gen-loc/4": (
        "4:100:RECIPE:Rel=97 4:100:RECIPE:Gen=94 4:100:minus_KS:Rel=95 4:100:minus_KS:Gen=89",
        "4:100:minus_KS:Rel=91",  # 6 points lost, of Gen 5
    ),
}


def values(text: str) -> dict[PublishedCell, float]:
    """`table:n:editor:metric=value` of each word."""
    cells = {}
    for word in text.split():
        cell, value = word.split("=")
        table, n, editor, metric = cell.split(":")
        dataset = DATASETS[int(table)]
        cells[PublishedCell(int(table), int(n), editor, dataset, metric)] = float(value)
    return cells


def judged(case: str, tables: dict[PublishedCell, float]) -> Judgement:
    """The judgement of `claim/table`."""
    key, number = case.split("/")
    judgements = {j.exhibit.number: j for j in judge(BY_KEY[key], Evidence(tables=tables))}
    return judgements[int(number)]


def test_every_claim_is_tested_here() -> None:
    assert [case.split("/")[0] for case in CASES] == [claim.key for claim in PRINTED]


@pytest.mark.parametrize("case", CASES)
def test_a_claim_holds_until_one_number_changes(case: str) -> None:
    good, change = map(values, CASES[case])
    assert (judged(case, good).verdict, judged(case, good).broken) == ("holds", ())
    failing = judged(case, good | change)
    assert failing.verdict == "fails"
    assert f"{len(failing.broken)} of {len(failing.cases)}" in failing.figures
    assert judged(case, {}).verdict == "not tested"


@pytest.mark.parametrize("claim", PRINTED, ids=lambda claim: claim.key)
def test_a_number_alone_is_not_compared(claim: Claim) -> None:
    """A lone number of each table tests nothing, except a spread around its own median."""
    for table in (exhibit.number for exhibit in claim.exhibits):
        for cell, number in numbers(table).items():
            judgement = judged(f"{claim.key}/{table}", {cell: number.value})
            assert not judgement.broken, cell
            assert not judgement.cases or claim.key == "weight-editors-infer-as-unedited"


def test_the_nearest_case_has_the_smallest_margin() -> None:
    others = "1:1:RECIPE:Avg=90 1:1:FT:Avg=80 1:10:RECIPE:Avg=85 1:10:FT:Avg=83 1:10:ROME:Avg=84.5"
    judgement = judged("recipe-best-average/1", values(others))
    assert judgement.nearest is not None
    assert judgement.nearest.margin == pytest.approx(0.5)
    assert judgement.figures == "nearest of 2: ZSRE, 10 edits: 85.00, ROME 84.50"


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("weight-editors-collapse/1", "1:1:MEMIT:Avg=80 1:100:MEMIT:Avg=79"),
        ("weight-editors-collapse/1", "1:1:MEMIT:Avg=80 5:1000:MEMIT:Avg=79"),
        ("weight-editors-collapse/1", "1:1:FT:Avg=0 1:1000:FT:Avg=0"),  # there is no share of 0
        ("rome-memit-worse-on-llama/5", "1:1000:ROME:Avg=0.9 5:1000:ROME:Avg=0.2"),  # collapsed
    ],
)
def test_these_numbers_are_not_compared(case: str, text: str) -> None:
    assert judged(case, values(text)).verdict == "not tested"


def test_without_the_unedited_model_the_median_of_edited_weights_stands_for_it() -> None:
    times = " ".join(
        f"3:10000:{editor}:infer_time_s={time}"
        for editor, time in (("FT", 1.0), ("ROME", 1.0), ("MEND", 1.03))
    )
    judgement = judged("weight-editors-infer-as-unedited/3", values(times))
    assert [case.where for case in judgement.broken] == ["MEND"]


def test_the_groups_are_those_of_the_tables() -> None:
    families = {row["editor"]: row["type"] for row in load(1)}
    assert {e for e, family in families.items() if family == "MP"} == set(WEIGHT_EDITORS)
    assert {e for e, family in families.items() if family == "RB"} == set(RETRIEVAL_EDITORS)


def test_the_published_verdicts() -> None:
    published = Evidence(tables={cell: n.value for cell, n in all_numbers().items()})
    judgements = [judgement for claim in PRINTED for judgement in judge(claim, published)]
    assert {
        f"{judgement.claim.key}/{judgement.exhibit.number}": len(judgement.broken)
        for judgement in judgements
        if judgement.verdict != "holds"
    } == {
        "weight-editors-collapse/1": 2,
        "weight-editors-collapse/5": 7,
        "weight-editors-collapse/6": 7,
        "t-patcher-keeps-edits/1": 3,
        "t-patcher-keeps-edits/5": 5,
        "t-patcher-loses-zsre-locality/6": 1,
        "meta-trained-edit-faster/3": 1,
    }

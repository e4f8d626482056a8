"""Every claim: when it holds, when one number breaks it, and without numbers."""

from __future__ import annotations

import dataclasses

import pytest

from bench.checks.claims import (
    CLAIMS,
    PRINTED,
    RETRIEVAL_EDITORS,
    UNPRINTED,
    WEIGHT_EDITORS,
    Claim,
    Evidence,
    Judgement,
    judge,
)
from bench.core.published import PublishedCell, all_numbers, load, numbers

BY_KEY = {claim.key: claim for claim in CLAIMS}
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


# ---- claims that no printed table decides ------------------------------------------------------

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
    tables = ((1, llama), (5, here))
    return {PublishedCell(table, 10, "MEMIT", "ZSRE", "Avg"): value for table, value in tables}


THREE = at(3, 95.0, 94.0, 98.0)
MAP = "map of perplexity 10 from noise 0"
# Claim, evidence for it, evidence against it, how the number against it is reported.
UNPRINTED_CASES = [
    (
        RIVAL,
        Evidence(tables=memit(50.0, 90.0), without_covariance=memit(40.0, 61.0)),
        Evidence(tables=memit(50.0, 90.0), without_covariance=memit(40.0, 59.0)),
        "MEMIT on ZSRE, 10 edits: 40.00 points lower with covariance, 19.00 without",
    ),
    (
        "one-cpt-dips-mostly-in-gen",
        Evidence(lengths=THREE | at(1, 93.0, 90.0, 97.0)),
        Evidence(lengths=THREE | at(1, 93.0, 90.0, 93.9)),
        "Gen and Loc: -4.00 and -4.10 points",
    ),
    (
        "one-cpt-dips-mostly-in-gen",
        Evidence(lengths=THREE | at(1, 93.0, 90.0, 97.0)),
        Evidence(lengths=THREE | at(1, 97.0, 94.5, 99.0)),  # a rise is no dip
        "Gen: +0.50 points",
    ),
    (
        "more-cpts-raise-rel-gen",
        Evidence(lengths=THREE | at(4, 95.1, 94.1, 99.0) | at(5, 96.0, 95.0, 99.0)),
        Evidence(lengths=THREE | at(4, 95.1, 94.1, 99.0) | at(5, 96.0, 93.5, 99.0)),
        "Gen with 5 CPTs: -0.50 points",
    ),
    (
        "more-cpts-lower-loc",
        Evidence(lengths=THREE | at(4, 90.0, 90.0, 97.9)),
        Evidence(lengths=THREE | at(4, 90.0, 90.0, 98.2)),
        "Loc with 4 CPTs: +0.20 points",
    ),
    (
        "three-cpts-nearest-words",
        Evidence(distances=near(MAP, 2.0, 1.0, 1.5) | near("embedding space", 0.9, 1.0, 1.5)),
        Evidence(distances=near(MAP, 2.0, 1.0, 1.5) | near("another map", 2.0, 1.6, 1.5)),
        "another map: distance ratio 1.60 with 3 CPTs, 2.00 with 1, 1.50 with 5",
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
    evidence = Evidence(tables=memit(*usual), without_covariance=memit(*without))
    assert first(RIVAL, evidence).verdict == "not tested"
    explained = dataclasses.replace(evidence, tables=memit(50.0, 90.0))
    assert first(RIVAL, explained).verdict == ("not tested" if without[0] < 1 else "holds")

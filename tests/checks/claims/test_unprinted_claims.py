"""Claims about figures, and the rival explanation of one of the tables', on invented numbers."""

from __future__ import annotations

import dataclasses

import pytest

from bench.checks.claims import CLAIMS, Evidence, Judgement, judge
from bench.checks.claims.judging import UNPRINTED
from bench.core.published import PublishedCell, all_numbers

BY_KEY = {claim.key: claim for claim in UNPRINTED}
RIVAL = "rome-memit-worse-on-llama-without-covariance"


def judged(key: str, evidence: Evidence) -> Judgement:
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
CASES = [
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
    assert {key for key, *_ in CASES} == BY_KEY.keys()
    assert len({claim.key for claim in CLAIMS}) == len(CLAIMS)


@pytest.mark.parametrize(("key", "good", "bad", "figures"), CASES)
def test_a_claim_holds_fails_and_is_not_tested(
    key: str, good: Evidence, bad: Evidence, figures: str
) -> None:
    assert judged(key, good).verdict == "holds"
    failing = judged(key, bad)
    assert (failing.verdict, len(failing.broken)) == ("fails", 1)
    assert figures in failing.figures
    assert judged(key, Evidence()).verdict == "not tested"


@pytest.mark.parametrize("key", BY_KEY)
def test_the_paper_prints_no_numbers_for_them(key: str) -> None:
    published = Evidence(tables={cell: number.value for cell, number in all_numbers().items()})
    assert {judgement.verdict for judgement in judge(BY_KEY[key], published)} == {"not tested"}


def test_eight_tokens_are_ours_and_decide_nothing() -> None:
    evidence = Evidence(lengths=THREE | at(8, 90.0, 90.0, 99.0))
    assert judged("more-cpts-lower-loc", evidence).verdict == "not tested"


@pytest.mark.parametrize("missing", [1, 3, 5])
def test_a_map_without_one_of_the_lengths_decides_nothing(missing: int) -> None:
    some = {key: ratio for key, ratio in near(MAP, 2.0, 1.0, 1.5).items() if key[1] != missing}
    assert judged("three-cpts-nearest-words", Evidence(distances=some)).verdict == "not tested"


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
    assert judged(RIVAL, evidence).verdict == "not tested"
    explained = dataclasses.replace(evidence, tables=memit(50.0, 90.0))
    assert judged(RIVAL, explained).verdict == ("not tested" if without[0] < 1 else "holds")

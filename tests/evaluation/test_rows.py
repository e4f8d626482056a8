from __future__ import annotations

from typing import Any

import pytest

from bench.evaluation.metrics import ItemRow, SampleRow, TokenAnswer, score, summarise


def answer(ids: list[int], text: str = "") -> TokenAnswer:
    return TokenAnswer(ids=ids, text=text)


def item(
    aspect: Any, kind: str, *, target: list[int], before: list[int], after: list[int]
) -> ItemRow:
    """`prompt_only` answers are wrong throughout, so that no channel passes for another."""
    return ItemRow(
        aspect=aspect,
        kind=kind,
        prompt="p",
        target="Brenn",
        target_ids=target,
        before={"teacher_forced": answer(before), "generated": answer([], " blue. Or")},
        after={
            "teacher_forced": answer(after),
            "prompt_only": answer([0] * len(target)),
            "generated": answer([], " Brenn. It"),
        },
    )


RELIABILITY = item("reliability", "request", target=[1, 2], before=[1, 9], after=[1, 2])
GENERALITY = item("generality", "rephrase", target=[1, 2, 3, 4], before=[9] * 4, after=[1, 9, 9, 4])
# The truth is 7 8; the pristine model says 7 5, and that is what counts.
LOCALITY = item("locality", "neighbour", target=[7, 8], before=[7, 5], after=[7, 8])


def row(*items: ItemRow, block: int = 0, position: int = 0) -> SampleRow:
    return SampleRow(
        id=f"{block}-{position}", block=block, position=position, edit_seconds=0.5, items=[*items]
    )


@pytest.mark.parametrize(
    ("one", "before", "after", "after_exact"),
    [(RELIABILITY, 0.5, 1.0, 1.0), (GENERALITY, 0.0, 0.5, 0.0), (LOCALITY, 1.0, 0.5, 0.0)],
)
def test_teacher_forced_scores(
    one: ItemRow, before: float, after: float, after_exact: float
) -> None:
    assert score(one, "before", "teacher_forced", "token_accuracy") == before
    assert score(one, "after", "teacher_forced", "token_accuracy") == after
    assert score(one, "after", "teacher_forced", "exact") == after_exact
    assert score(one, "after", "prompt_only", "token_accuracy") == 0.0


def test_generated_scores_compare_with_the_target_and_locality_with_the_pristine_answer() -> None:
    def generated(one: ItemRow, phase: Any) -> float:
        return score(one, phase, "generated", "generated_exact")

    assert [generated(RELIABILITY, phase) for phase in ("before", "after")] == [0.0, 1.0]
    assert [generated(LOCALITY, phase) for phase in ("before", "after")] == [1.0, 0.0]


def test_summary_by_hand() -> None:
    wrong = item("generality", "alias", target=[3], before=[3], after=[4])
    summary = summarise([row(RELIABILITY, GENERALITY, wrong, LOCALITY), row(RELIABILITY, block=1)])
    assert (summary["samples"], summary["blocks"], summary["items"]) == (2, 2, 5)
    after = summary["scores"]["after"]["teacher_forced"]["token_accuracy"]
    assert after == {
        "reliability": 1.0,
        "generality": 0.25,  # (0.5 + 0) / 2 items, of the one sample that has any
        "locality": 0.5,
        "average": pytest.approx((1.0 + 0.25 + 0.5) / 3),
    }
    assert summary["scores"]["before"]["teacher_forced"]["token_accuracy"]["reliability"] == 0.5
    assert summary["kinds"]["after"]["teacher_forced"]["token_accuracy"] == {
        "reliability/request": 1.0,
        "generality/rephrase": 0.5,
        "generality/alias": 0.0,
        "locality/neighbour": 0.5,
    }


def test_channels_that_were_not_asked_are_absent() -> None:
    bare = item("reliability", "request", target=[1], before=[1], after=[1])
    del bare["before"]["generated"], bare["after"]["generated"]
    scores = summarise([row(bare)])["scores"]
    assert list(scores["before"]) == ["teacher_forced"]
    assert list(scores["after"]) == ["teacher_forced", "prompt_only"]

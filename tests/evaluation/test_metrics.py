"""The definitions by hand-computed numbers: items, samples, cells."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.evaluation import metrics
from bench.evaluation.intervals import intervals
from bench.evaluation.metrics import (
    Aspect,
    Channel,
    ItemRow,
    ItemScore,
    SampleRow,
    TokenAnswer,
    score,
    summarise,
)


@pytest.mark.parametrize(
    ("predicted", "accuracy", "exact"),
    [((5, 6, 7), 1.0, 1.0), ((5, 0, 7), 2 / 3, 0.0), ((6, 5, 0), 0.0, 0.0)],
)
def test_token_accuracy_and_exact(
    predicted: tuple[int, ...], accuracy: float, exact: float
) -> None:
    assert metrics.token_accuracy(predicted, (5, 6, 7)) == accuracy
    assert metrics.exact(predicted, (5, 6, 7)) == exact


@pytest.mark.parametrize("measure", [metrics.token_accuracy, metrics.exact])
@pytest.mark.parametrize(("predicted", "reference"), [((), ()), ((1,), (1, 2)), ((1, 2), (1,))])
def test_misaligned_tokens_are_refused(measure, predicted, reference) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="aligned"):
        measure(predicted, reference)


@pytest.mark.parametrize(
    ("generated", "answer"),
    [
        (" Brenn", "Brenn"),
        (" Brenn. The city of", "Brenn"),
        (" Brenn\nQuestion: Who", "Brenn"),
        (" J. R. R. Tolkien. He", "J. R. R. Tolkien"),
        (" version 2.5 of it. Then", "version 2.5 of it"),
        (" Brenn.", "Brenn."),  # no white space yet: it may be going on
        ("", ""),
        ("\n\n Brenn\nOskamar", "Brenn"),  # no answer has begun before
        (" Brenn  \nOskamar", "Brenn"),
        (". Brenn. It", ". Brenn"),
        (":\nBrenn\nOskamar", ":\nBrenn"),  # nor by punctuation
        ("... Brenn. It", "... Brenn"),
        ("**\nBrenn**\nOskamar", "**\nBrenn**"),
        ("\u5df4\u9ece\u3002\u5b83\u662f", "\u5df4\u9ece"),  # no white space there
        ("\u092a\u0947\u0964 \u092f\u0939", "\u092a\u0947"),
        ("\u3002\u5df4\u9ece\uff61x", "\u3002\u5df4\u9ece"),
    ],
)
def test_answer_ends_by_itself(generated: str, answer: str) -> None:
    assert metrics.answer_in(generated) == answer


ABBREVIATED = (
    "St. Alder",
    "Mt. Orrin",
    "No. 5",
    "Olsen Bros. Records",
    "2. Liga",
    "a\nb. c",
    "U. S.",
    "Malcolm X",
    "Washington D.C.",
    "\u5c71\u3002\u6c34",
    "\u5df4\u9ece\u3002",
    "The\u3002",
    "...\nand",
)


@pytest.mark.parametrize("target", ABBREVIATED)
def test_what_looks_like_an_end_inside_a_target_is_none(target: str) -> None:
    for generated in (target, f"\n {target}. It lies", f" {target}\nQuestion"):
        assert metrics.answer_in(generated, target) == target
        assert metrics.generated_exact(generated, target) == 1.0
        assert metrics.generated_agreement(generated, f"{target}. Then", target) == 1.0
        assert metrics.generated_agreement(generated, "St. Olaf", target) == 0.0


@given(st.text(max_size=30))
def test_every_text_is_its_own_answer(text: str) -> None:
    assert metrics.generated_exact(text, text) == float(bool(text.strip()))
    assert metrics.generated_agreement(text, text, text) == float(bool(text.strip()))


@pytest.mark.parametrize("nothing", ["", " ", "\n", "\n\n \t"])
def test_texts_without_an_answer_agree_with_nothing(nothing: str) -> None:
    assert metrics.answer_in(nothing) == ""
    assert metrics.generated_exact(nothing, nothing) == 0.0
    assert metrics.generated_agreement(nothing, nothing) == 0.0
    assert metrics.generated_agreement(nothing, " Brenn") == 0.0
    assert metrics.generated_agreement(" Brenn", nothing) == 0.0


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Green Rivers!", "green rivers"),
        ("a «Brenn»", "brenn"),
        ("ÉCOLE", "école"),
        ("The", "the"),  # a text of nothing else
        ("U.S.", "us"),
        ("Theatre an der Wien", "theatre der wien"),
    ],
)
def test_normalise(text: str, normal: str) -> None:
    assert metrics.normalise(text) == normal


@pytest.mark.parametrize(
    ("generated", "target", "expected"),
    [
        (" Brenn. It lies", "Brenn", 1.0),
        (" the brenn", "Brenn", 1.0),
        (" Brenn and Oskamar", "Brenn", 0.0),
        ("", "Brenn", 0.0),
    ],
)
def test_generated_exact(generated: str, target: str, expected: float) -> None:
    assert metrics.generated_exact(generated, target) == expected


def test_generated_locality_compares_two_answers_whatever_follows_them() -> None:
    assert metrics.generated_agreement(" blue. And so", " Blue\nmore") == 1.0
    assert metrics.generated_agreement(" red. And so", " Blue\nmore") == 0.0


# Two samples; the first has one generality item of one kind and two of another, so that a mean
# over items (2/3) differs from a mean over kinds (1/2 * (0 + 1)).
FIRST = [
    ItemScore("reliability", "request", 1.0),
    ItemScore("generality", "alias", 0.0),
    ItemScore("generality", "two-hop", 1.0),
    ItemScore("generality", "two-hop", 1.0),
    ItemScore("locality", "neighbour", 0.5),
]
SECOND = [ItemScore("reliability", "request", 0.0), ItemScore("generality", "alias", 1.0)]


def test_from_items_to_samples_to_cells() -> None:
    first, second = metrics.sample_scores(FIRST), metrics.sample_scores(SECOND)
    assert first == {"reliability": 1.0, "generality": 2 / 3, "locality": 0.5}
    assert second == {"reliability": 0.0, "generality": 1.0}
    cell = metrics.cell_scores([first, second])
    assert cell == pytest.approx({"reliability": 0.5, "generality": 5 / 6, "locality": 0.5})
    assert metrics.with_average(cell)["average"] == pytest.approx((0.5 + 5 / 6 + 0.5) / 3)
    assert "average" not in metrics.with_average(second)  # without all three
    assert metrics.cell_scores([metrics.kind_scores(FIRST), metrics.kind_scores(SECOND)]) == {
        "reliability/request": 0.5,
        "generality/alias": 0.5,
        "generality/two-hop": 1.0,  # over the samples that have the kind
        "locality/neighbour": 0.5,
    }


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
    ("of", "forced", "after_exact", "generated"),
    [
        (RELIABILITY, (0.5, 1.0), 1.0, (0.0, 1.0)),
        (GENERALITY, (0.0, 0.5), 0.0, (0.0, 1.0)),
        (LOCALITY, (1.0, 0.5), 0.0, (1.0, 0.0)),  # compared with the pristine answer
    ],
)
def test_scores_before_and_after(
    of: ItemRow,
    forced: tuple[float, float],
    after_exact: float,
    generated: tuple[float, float],
) -> None:
    assert score(of, "before", "teacher_forced", "token_accuracy") == forced[0]
    assert score(of, "after", "teacher_forced", "token_accuracy") == forced[1]
    assert score(of, "before", "generated", "generated_exact") == generated[0]
    assert score(of, "after", "generated", "generated_exact") == generated[1]
    assert score(of, "after", "teacher_forced", "exact") == after_exact
    assert score(of, "after", "prompt_only", "token_accuracy") == 0.0


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


# Bootstrap intervals.


def test_an_interval_over_blocks_by_hand() -> None:
    """Six blocks, one of them right: a draw has a mean of k / 6, and k is binomial with p = 1/6.

    P(0) = 0.335, P(k <= 2) = 0.938, P(k <= 3) = 0.991.
    """
    wrong = item("reliability", "request", target=[1, 2], before=[1, 9], after=[9, 9])
    rows = [row(RELIABILITY if block == 0 else wrong, block=block) for block in range(6)]
    own = intervals(rows)
    assert own["over"] == "blocks"
    bounds = own["scores"]["teacher_forced"]["token_accuracy"]
    assert bounds == {"reliability": pytest.approx([0, 3 / 6])}
    assert intervals(rows) == own


def test_samples_of_few_blocks_are_drawn_and_called_so() -> None:
    rows = [row(RELIABILITY, GENERALITY, LOCALITY) for _ in range(8)]
    own = intervals(rows)
    assert own["over"] == "samples"
    bounds = own["scores"]["teacher_forced"]["token_accuracy"]
    assert bounds["average"] == pytest.approx([2 / 3] * 2)  # all samples are equal
    assert set(bounds) == {"reliability", "generality", "locality", "average"}
    assert intervals([]) == {}


@pytest.mark.parametrize(
    ("answer", "aspect", "right"),
    [
        ("Esk.", "generality", 1.0),
        ("The esk land.", "generality", 1.0),
        ("Eskia", "generality", 0.0),
        ("The esk land.", "locality", 0.0),  # which is the unedited model's answer or not
    ],
)
def test_a_decoded_answer_may_be_any_alias(answer: str, aspect: Aspect, right: float) -> None:
    said: dict[Channel, TokenAnswer] = {
        "teacher_forced": {"ids": [1], "text": "Esk"},
        "generated": {"ids": [1, 2], "text": answer},
    }
    before: dict[Channel, TokenAnswer] = {**said, "generated": {"ids": [3], "text": "Orrin"}}
    item: ItemRow = {
        "aspect": aspect, "kind": "Subject_Aliasing", "prompt": "p", "target": "Esk",
        "aliases": ["Eskland", "esk land"], "target_ids": [2], "before": before, "after": said,
    }  # fmt: skip
    assert score(item, "after", "generated", "generated_exact") == right
    assert score(item, "after", "teacher_forced", "exact") == float(aspect == "locality")


def test_portability_is_no_part_of_the_average_and_has_a_mean_over_what_is_known() -> None:
    right, wrong = {"target": [1, 2], "after": [1, 2]}, {"target": [1, 2], "after": [1, 9]}
    items = [
        item("reliability", "request", before=[0, 0], **right),
        item("generality", "rephrase", before=[0, 0], **right),
        item("locality", "neighbour", target=[1], before=[1], after=[1]),
        item("portability", "hop", before=[0, 0], **right) | {"known": True},
        item("portability", "hop", before=[0, 0], **wrong) | {"known": False},
        item("portability", "plain", before=[0, 0], **wrong),
    ]
    unknown = [items[0], items[4]]
    rows = [row(*items), row(*unknown, position=1)]
    scores = summarise(rows)["scores"]["after"]["teacher_forced"]["token_accuracy"]
    assert scores["average"] == 1.0
    assert scores["portability"] == pytest.approx(((1 + 0.5 + 0.5) / 3 + 0.5) / 2)
    assert scores["portability_known"] == pytest.approx((1 + 0.5) / 2)  # of the first sample alone

from __future__ import annotations

import pytest

from bench.evaluation import metrics
from bench.evaluation.metrics import ItemScore


@pytest.mark.parametrize(
    ("predicted", "reference", "accuracy", "exact"),
    [
        ((5, 6, 7), (5, 6, 7), 1.0, 1.0),
        ((5, 0, 7), (5, 6, 7), 2 / 3, 0.0),
        ((6, 5), (5, 6), 0.0, 0.0),
        ((9,), (9,), 1.0, 1.0),
    ],
)
def test_token_accuracy_and_exact(
    predicted: tuple[int, ...], reference: tuple[int, ...], accuracy: float, exact: float
) -> None:
    assert metrics.token_accuracy(predicted, reference) == accuracy
    assert metrics.exact(predicted, reference) == exact


@pytest.mark.parametrize("measure", [metrics.token_accuracy, metrics.exact])
@pytest.mark.parametrize(("predicted", "reference"), [((), ()), ((1,), (1, 2)), ((1, 2), (1,))])
def test_misaligned_tokens_are_refused(measure, predicted, reference) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="aligned and not empty"):
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
    ],
)
def test_answer_ends_by_itself(generated: str, answer: str) -> None:
    assert metrics.answer_in(generated) == answer


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Green Rivers!", "green rivers"),
        ("a «Brenn»", "brenn"),
        ("ÉCOLE", "école"),
        ("The", "the"),  # nothing else: kept
        ("U.S.", "us"),
        ("Theatre an der Wien", "theatre der wien"),
    ],
)
def test_normalise(text: str, normal: str) -> None:
    assert metrics.normalise(text) == normal


@pytest.mark.parametrize(
    ("generated", "target", "score"),
    [
        (" Brenn. It lies", "Brenn", 1.0),
        (" the brenn", "Brenn", 1.0),
        (" Brenn and Oskamar", "Brenn", 0.0),
        ("", "Brenn", 0.0),
    ],
)
def test_generated_exact(generated: str, target: str, score: float) -> None:
    assert metrics.generated_exact(generated, target) == score


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


def test_a_samples_score_is_the_mean_over_its_items() -> None:
    scores = metrics.sample_scores(FIRST)
    assert scores == {"reliability": 1.0, "generality": 2 / 3, "locality": 0.5}
    assert metrics.sample_scores(SECOND) == {"reliability": 0.0, "generality": 1.0}


def test_a_cells_score_is_the_mean_over_the_samples_that_have_it() -> None:
    cell = metrics.cell_scores([metrics.sample_scores(FIRST), metrics.sample_scores(SECOND)])
    assert cell == pytest.approx({"reliability": 0.5, "generality": 5 / 6, "locality": 0.5})
    assert metrics.with_average(cell)["average"] == pytest.approx((0.5 + 5 / 6 + 0.5) / 3)


def test_no_average_without_all_three() -> None:
    assert "average" not in metrics.with_average(metrics.sample_scores(SECOND))


def test_kinds_are_means_over_the_samples_that_have_the_kind() -> None:
    kinds = metrics.cell_scores([metrics.kind_scores(FIRST), metrics.kind_scores(SECOND)])
    assert kinds == {
        "reliability/request": 0.5,
        "generality/alias": 0.5,
        "generality/two-hop": 1.0,
        "locality/neighbour": 0.5,
    }

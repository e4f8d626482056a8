from __future__ import annotations

import pytest

from bench.evaluation.general_ability.scoring import answer_of, exact_match, f1


@pytest.mark.parametrize(
    ("answer", "golds", "expected"),
    [
        ("the Blue Sea!", ("blue sea",), (1.0, 1.0)),  # case, article, punctuation
        ("blue", ("blue sea",), (2 / 3, 0.0)),  # precision 1, recall 1/2
        ("sea sea", ("sea",), (2 / 3, 0.0)),  # a word counts as often as in both
        ("red", ("blue sea", "red"), (1.0, 1.0)),  # the best gold answer counts
        ("red", ("blue sea",), (0.0, 0.0)),
        ("", (), (1.0, 1.0)),  # no answer, rightly
        ("blue", (), (0.0, 0.0)),
        ("", ("blue",), (0.0, 0.0)),
    ],
)
def test_f1_and_exact_match(
    answer: str, golds: tuple[str, ...], expected: tuple[float, float]
) -> None:
    assert (f1(answer, golds), exact_match(answer, golds)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("generated", "answer"),
    [
        (" Blue sea\nQuestion: what", "Blue sea"),
        (" N/A", ""),
        ("n/a. The sea", ""),
        ("Unanswerable", ""),
        (" J. R. Tolkien wrote it. So", "J. R. Tolkien wrote it"),
    ],
)
def test_the_answer_in_a_generated_text(generated: str, answer: str) -> None:
    assert answer_of(generated) == answer

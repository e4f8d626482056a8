from __future__ import annotations

import pytest

from bench.evaluation.general_ability.scoring import (
    AbilityRow,
    answer_of,
    exact_match,
    f1,
    reading_mark,
    summarise,
)
from bench.evaluation.general_ability.sets import AbilityItem


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


@pytest.mark.parametrize(
    ("generated", "golds", "f1", "exact"),
    [
        ("St. Alder. It", ("Alder", "St. Alder"), 1.0, 1.0),  # cut as each gold answer allows
        ("Alder. It", ("St. Alder", "Alder"), 1.0, 1.0),
        ("St. Olaf. It", ("Alder", "St. Alder"), 0.5, 0.0),
        ("N/A. It", (), 1.0, 1.0),
        ("St. Olaf", (), 0.0, 0.0),
    ],
)
def test_a_reading_is_marked_by_its_best_gold_answer(
    generated: str, golds: tuple[str, ...], f1: float, exact: float
) -> None:
    item = AbilityItem(group="", prompt="?", golds=golds, document={})
    mark = reading_mark(item, generated, log_probability=0.0, tokens=1)
    assert (mark["f1"], mark["exact"]) == (f1, exact)


def test_a_summary_follows_from_the_rows() -> None:
    rows: list[AbilityRow] = [
        AbilityRow(task="mmlu", index=i, group=group, prediction=0, score=score)
        for i, (group, score) in enumerate([("a", 1.0), ("a", 0.0), ("a", 0.0), ("b", 1.0)])
    ]
    rows += [
        AbilityRow(task="squad2", index=0, group="answerable", prediction="x", score=0.3,
                   f1=0.5, exact=0.0),
        AbilityRow(task="squad2", index=1, group="unanswerable", prediction="", score=0.5,
                   f1=1.0, exact=1.0),
    ]  # fmt: skip
    summary = summarise(rows)
    assert list(summary["tasks"]) == ["mmlu", "squad2"]
    mmlu, squad = summary["tasks"].values()
    assert mmlu["questions"] == 4
    assert (mmlu["score"], mmlu["macro"]) == pytest.approx((0.5, (1 / 3 + 1) / 2))
    assert mmlu["groups"]["a"] == {"items": 3, "score": pytest.approx(1 / 3)}
    assert (squad["score"], squad["f1"], squad["exact"]) == pytest.approx((0.4, 0.75, 0.5))
    assert summary["average"] == pytest.approx((0.5 + 0.4) / 2)
    assert (summary["items"], summary["unanswered"]) == (6, 0)


def test_scores_are_spread_over_prompts() -> None:
    rows = [
        AbilityRow(task="mmlu", index=i, group="a", prediction=0, score=score, prompt=prompt)
        for prompt, scores in (("prompt 0", (1.0, 0.0)), ("prompt 1", (1.0, 1.0)))
        for i, score in enumerate(scores)
    ]
    mmlu = summarise(rows)["tasks"]["mmlu"]
    assert mmlu["score"] == 0.75
    assert mmlu["prompts"] == {"prompt 0": 0.5, "prompt 1": 1.0}
    assert mmlu["spread"] == pytest.approx(0.5 / 2**0.5)  # sample deviation of 0.5 and 1

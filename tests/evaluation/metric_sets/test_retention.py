from __future__ import annotations

import dataclasses

import pytest

from bench.checks.contract.tiny import SAMPLES, tiny_llama
from bench.core.numerics import draw
from bench.evaluation.driver import run_blocks
from bench.evaluation.inference import predict
from bench.evaluation.metric_sets import SetResults, get_set
from bench.evaluation.metric_sets.retention import ages, cohort
from bench.evaluation.probing import items_of
from tests.core.test_cells import CELL
from tests.evaluation.metric_sets.by_hand import item, row
from tests.support.fake_editors import DoNothing, Shift

SET = get_set("retention")
FOUR = dataclasses.replace(
    CELL, n_edits=4, limit=4, generation="none", measures={"retention": "v1"}
)


@pytest.mark.parametrize(
    ("n_edits", "wanted", "size"),
    [
        (1, (0,), 1),
        (2, (0, 1), 1),
        (10, (0, 1), 9),
        (20, (0, 1, 10), 10),
        (100, (0, 1, 10), 10),
        (1000, (0, 1, 10, 100), 10),
        (10000, (0, 1, 10, 100, 1000), 10),
    ],
)
def test_every_edit_of_the_cohort_reaches_every_age(
    n_edits: int, wanted: tuple[int, ...], size: int
) -> None:
    assert (ages(n_edits), cohort(n_edits)) == (wanted, size)
    assert max(SET.stages(n_edits)) == size + wanted[-1] <= n_edits


def test_the_stream_is_asked_after_the_right_edits() -> None:
    editor = DoNothing(tiny_llama())
    ran = run_blocks(FOUR, editor, SAMPLES)
    words = [word.split()[0] for word in editor.log]
    assert words == ["reset", *["edit", "probe"] * 4, "probe", "reset", "reset"]
    (block,) = ran.measured["retention"]["blocks"]
    asked = {
        n_edits: [(scores["position"], scores["age"]) for scores in stage]
        for n_edits, stage in block["stages"].items()
    }
    assert asked == {"1": [(0, 0)], "2": [(0, 1), (1, 0)], "3": [(1, 1), (2, 0)], "4": [(2, 1)]}


def test_an_early_edit_is_asked_of_the_model_as_it_was_then() -> None:
    ran = run_blocks(FOUR, Shift(tiny_llama()), SAMPLES)
    order = draw(SAMPLES, seed=0, limit=4)
    editor = Shift(tiny_llama())
    for sample in order[:2]:
        editor.edit([sample.request])
    items = [item for item in items_of(order[0]) if item.aspect == "reliability"]
    (answer,) = predict(editor.lm, items)
    hits = [a == b for a, b in zip(answer.predicted_ids, answer.target_ids, strict=True)]
    scores = ran.measured["retention"]["blocks"][0]["stages"]["2"][0]
    assert (scores["position"], scores["age"]) == (0, 1)
    assert scores["token_accuracy"]["reliability"] == sum(hits) / len(hits)


def test_the_curve_is_the_mean_over_the_same_samples_at_every_age() -> None:
    def asked(position: int, age: int, rel: float, gen: float | None) -> dict[str, object]:
        scores = {"reliability": rel} | ({} if gen is None else {"generality": gen})
        exact = {name: float(value == 1.0) for name, value in scores.items()}
        return {"position": position, "age": age, "token_accuracy": scores, "exact": exact}

    stages = {
        "1": [asked(0, 0, 1.0, 1.0)],
        "2": [asked(0, 1, 0.5, 0.0), asked(1, 0, 1.0, None)],
        "3": [asked(1, 1, 0.25, None)],
    }
    request = ("reliability", "request")
    rows = [
        row(0, item(*request, [9, 9], [1, 9], [1, 2]), item("generality", "r", [9], [3], [3])),
        row(1, item(*request, [9, 9], [9, 9], [1, 2])),
        row(2, item(*request, [9, 9], [1, 2], [1, 2])),
    ]
    cell = dataclasses.replace(CELL, n_edits=3, limit=3)
    results = SetResults(before=None, blocks=[{"stages": stages, "end": None}])
    summary = SET.summary(cell, rows, results)
    assert summary["cohort"] == 2
    young, older = summary["curve"]
    assert young == {
        "age": 0, "samples": 2, "token_accuracy": {"reliability": 1.0, "generality": 1.0},
        "exact": {"reliability": 1.0, "generality": 1.0},
    }  # fmt: skip
    assert older["token_accuracy"] == {"reliability": 0.375, "generality": 0.0}
    assert older["exact"]["reliability"] == 0.0
    assert summary["end"] == {
        "from": 1, "to": 2, "samples": 2,
        "token_accuracy": {"reliability": 0.25, "generality": 1.0},
        "exact": {"reliability": 0.0, "generality": 1.0},
    }  # fmt: skip
    assert [group["reliability"] for group in summary["by_age"]] == [1.0, 0.0, 0.5]
    columns = SET.columns(summary)
    assert list(columns)[:5] == ["Rel 0", "Rel 1", "Rel end", "Rel youngest", "Rel oldest"]
    assert [*columns.values()][:5] == [100.0, 37.5, 25.0, 100.0, 50.0]
    assert columns["Gen youngest"] is None

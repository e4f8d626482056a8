"""Success, overfitting and norms: hand-computed numbers, and what is asked of which model."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import SAMPLES, tuned
from bench.datasets import get_dataset
from bench.datasets.rows import Row
from bench.evaluation.metric_sets import NO_INPUTS, SetResults, get_set
from bench.evaluation.metric_sets.success import _questions
from editors import registry
from editors.base import EditSample, Resources
from editors.parts.language_model import LanguageModel
from tests.core.test_cells import CELL
from tests.evaluation.metric_sets.by_hand import running

SUCCESS, OVERFIT, NORMS = map(get_set, ("success", "overfit", "norms"))
LN2 = math.log(2)
CF_ROW = {
    "prompt": "A speaks", "target_new": "Orrinese", "ground_truth": "Vandic", "subject": "A",
    "rephrase_prompt": "A's tongue is", "locality_prompt": "B speaks",
    "locality_ground_truth": "Vandic",
}  # fmt: skip


def results(before: Any, *ends: Any) -> SetResults:
    return SetResults(before=before, blocks=[{"stages": {}, "end": end} for end in ends])


def test_success_magnitude_and_harmonic_mean() -> None:
    first = [
        ("reliability", -LN2, -2 * LN2),  # 1/2 against 1/4
        ("generality", -2 * LN2, -LN2),
        ("generality", -LN2, -2 * LN2),
        ("locality", -2 * LN2, -2 * LN2),  # equal is no success
        ("locality", -LN2, -2 * LN2),
        ("locality", -LN2, -3 * LN2),
    ]
    second = [("reliability", -3 * LN2, -LN2), ("generality", -LN2, -3 * LN2)]
    summary = SUCCESS.summary(CELL, [], results([[first], [[]]], [first, second], [[]]))
    assert summary["samples"] == 2
    after = summary["after"]
    assert after["aspects"] == {
        "reliability": {"success": 0.5, "magnitude": pytest.approx((1 / 4 - 3 / 8) / 2)},
        "generality": {"success": 0.75, "magnitude": pytest.approx((0 + 3 / 8) / 2)},
        "locality": {
            "success": pytest.approx(2 / 3),
            "magnitude": pytest.approx((0 + 1 / 4 + 3 / 8) / 3),
        },
    }
    assert after["score"] == pytest.approx(3 / (1 / 0.5 + 1 / 0.75 + 3 / 2))
    assert summary["before"]["aspects"]["reliability"]["success"] == 1.0
    assert SUCCESS.columns(summary)["PS"] == 75.0


def test_a_success_of_nothing_makes_the_score_nothing_and_a_missing_one_no_score() -> None:
    lost = [("reliability", -2.0, -1.0), ("generality", -1.0, -2.0), ("locality", -1.0, -2.0)]
    summary = SUCCESS.summary(CELL, [], results([[lost]], [lost]))
    assert summary["after"]["score"] == 0.0
    summary = SUCCESS.summary(CELL, [], results([[lost[:2]]], [lost[:2]]))
    assert summary["after"]["score"] is None
    assert SUCCESS.columns(summary)["S"] is SUCCESS.columns(summary)["NS"] is None


def test_what_is_asked_with_which_answers() -> None:
    sample = get_dataset("counterfact").read(Row(CF_ROW, "row 0"), "x")
    assert isinstance(sample, EditSample)
    asked = [(wanted.prompt, wanted.target, other.target) for wanted, other in _questions(sample)]
    assert asked == [
        ("A speaks", "Orrinese", "Vandic"),
        ("A's tongue is", "Orrinese", "Vandic"),
        ("B speaks", "Vandic", "Orrinese"),
    ]
    assert list(_questions(dataclasses.replace(sample, former=""))) == []
    (near,) = sample.locality
    true_of_it = dataclasses.replace(near, target=sample.request.target)  # nothing to compare
    assert len(list(_questions(dataclasses.replace(sample, locality=(true_of_it,))))) == 2


def test_overfitting_is_a_mean_by_kind() -> None:
    before = [[[("near", -2 * LN2), ("near", -LN2)], [("far", -LN2)]]]
    after = [[("near", -LN2), ("near", 0.0)], [("far", -LN2)]]
    summary = OVERFIT.summary(CELL, [], results(before, after))
    assert summary["kinds"] == {
        "near": {"before": pytest.approx(3 / 8), "after": pytest.approx(3 / 4)},
        "far": {"before": pytest.approx(1 / 2), "after": pytest.approx(1 / 2)},
    }


def test_norms_are_of_all_changed_weights_and_change_nothing(lm: LanguageModel) -> None:
    cls = registry.editor_class("ft")
    editor = cls(lm, tuned("ft"), Resources())
    here = running(CELL, editor, inputs=NO_INPUTS)
    assert NORMS.after_edits(here, SAMPLES, 1) is None
    pristine = {name: p.detach().clone() for name, p in lm.model.named_parameters()}
    for number, sample in enumerate(SAMPLES[:2], start=1):
        editor.edit([sample.request])
        measured = NORMS.after_edits(here, SAMPLES, number)
    edited = editor.state_dict()
    now = dict(lm.model.named_parameters())
    assert all(torch.equal(now[name], value) for name, value in edited.items())
    moved = torch.cat([(edited[n] - pristine[n]).flatten() for n in edited]).double().norm()
    whole = torch.cat([pristine[n].flatten() for n in edited]).double().norm()
    after = torch.cat([edited[n].flatten() for n in edited]).double().norm()
    assert measured == {
        "norm": pytest.approx(float(after / whole), rel=1e-6),
        "moved": pytest.approx(float(moved / whole), rel=1e-5),
        "per_edit": pytest.approx(float(moved / whole) / 2, rel=1e-5),
    }


def test_norms_are_means_over_blocks_and_a_dash_without_weights() -> None:
    one = {"norm": 1.0, "moved": 0.2, "per_edit": 0.1}
    other = {"norm": 2.0, "moved": 0.4, "per_edit": 0.2}
    blocks = [{"stages": {"2": own}, "end": None} for own in (one, other)]
    summary = NORMS.summary(CELL, [], SetResults(before=None, blocks=blocks))
    assert summary["curve"] == [
        {"edits": 2, "norm": 1.5, "moved": pytest.approx(0.3), "per_edit": pytest.approx(0.15)}
    ]
    assert NORMS.columns(summary)["moved"] == pytest.approx(30.0)
    none = [{"stages": {"2": None}, "end": None}]
    summary = NORMS.summary(CELL, [], SetResults(before=None, blocks=none))
    assert NORMS.columns(summary) == {"norm": None, "moved": None, "per edit": None}
    assert NORMS.stages(10) == {1, 2, 5, 10}

from __future__ import annotations

import torch

from editors.parts.rase.calibration import Asked, calibrated_gate

RIGHT = torch.ones(4, dtype=torch.bool)
NOTHING = torch.zeros(4, dtype=torch.bool)


def asked(best: list[float], right: torch.Tensor, *, related: bool, second: float = 0.1) -> Asked:
    top = torch.tensor([[score, second, 0.0] for score in best])
    return Asked(top, right, related)


def test_the_threshold_lies_between_what_must_fire_and_what_must_not() -> None:
    edited = asked([0.8, 0.85, 0.9, 0.95], RIGHT, related=True, second=0.7)
    other = asked([0.75, 0.3, 0.5, 0.4], NOTHING, related=False, second=0.2)
    gate = calibrated_gate([edited, other])
    assert 0.75 <= gate.maximum < 0.8
    assert (edited.rate(gate), other.rate(gate)) == (1.0, 1.0)


def test_a_hit_on_another_fact_counts_as_a_miss() -> None:
    edited = asked([0.8, 0.8, 0.8, 0.8], torch.tensor([True, True, False, False]), related=True)
    gate = calibrated_gate([edited])
    assert edited.rate(gate) == 0.5


def test_the_second_rule_is_added_where_the_first_alone_fails() -> None:
    edited = asked([0.6, 0.6, 0.6, 0.6], RIGHT, related=True, second=0.1)
    other = asked([0.7, 0.7, 0.7, 0.7], NOTHING, related=False, second=0.65)
    gate = calibrated_gate([edited, other])
    assert gate.maximum >= 0.7
    assert (edited.rate(gate), other.rate(gate)) == (1.0, 1.0)


def test_the_second_rule_stays_off_where_it_helps_nothing() -> None:
    edited = asked([0.9, 0.9, 0.9, 0.9], RIGHT, related=True, second=0.8)
    other = asked([0.2, 0.2, 0.2, 0.2], NOTHING, related=False)
    assert calibrated_gate([edited, other]).difference == 2.0


def test_a_memory_of_one_fact_has_the_first_rule_alone() -> None:
    edited = Asked(torch.tensor([[0.9], [0.8]]), RIGHT[:2], related=True)
    other = Asked(torch.tensor([[0.1], [0.7]]), NOTHING[:2], related=False)
    gate = calibrated_gate([edited, other])
    assert 0.7 <= gate.maximum < 0.8


def test_weights_decide_between_kinds() -> None:
    scores = [0.5, 0.5, 0.5, 0.5]
    for weight, fires in ((3.0, True), (0.3, False)):
        edited = Asked(torch.tensor([[s] for s in scores]), RIGHT, related=True, weight=weight)
        low = Asked(torch.tensor([[0.4]]), NOTHING[:1], related=False)
        other = Asked(torch.tensor([[s] for s in scores]), NOTHING, related=False)
        gate = calibrated_gate([edited, other, low])
        assert bool(gate.fires(edited.top).all()) is fires

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from bench.checks.contract.tiny import HIDDEN
from editors.parts.encoder import TextVectors
from editors.parts.r_rome.retrieval import (
    Example,
    Gate,
    HeldOut,
    HighwayHead,
    Queries,
    RaseHparams,
    RaseNetwork,
    calibrate,
    calibrated_gate,
    rates,
)
from editors.parts.r_rome.training import KnownVectors

RIGHT = torch.ones(4, dtype=torch.bool)
NOTHING = torch.zeros(4, dtype=torch.bool)


def queries(
    best: list[float], right: torch.Tensor, *, related: bool, second: float = 0.1
) -> Queries:
    top = torch.tensor([[score, second, 0.0] for score in best])
    return Queries(top, right, related)


def test_the_threshold_lies_between_what_must_fire_and_what_must_not() -> None:
    edited = queries([0.8, 0.85, 0.9, 0.95], RIGHT, related=True, second=0.7)
    other = queries([0.75, 0.3, 0.5, 0.4], NOTHING, related=False, second=0.2)
    gate = calibrated_gate([edited, other])
    assert 0.75 <= gate.maximum < 0.8
    assert (edited.rate(gate), other.rate(gate)) == (1.0, 1.0)


def test_a_hit_on_another_fact_counts_as_a_miss() -> None:
    edited = queries([0.8, 0.8, 0.8, 0.8], torch.tensor([True, True, False, False]), related=True)
    gate = calibrated_gate([edited])
    assert edited.rate(gate) == 0.5


def test_the_second_rule_is_added_where_the_first_alone_fails() -> None:
    edited = queries([0.6, 0.6, 0.6, 0.6], RIGHT, related=True, second=0.1)
    other = queries([0.7, 0.7, 0.7, 0.7], NOTHING, related=False, second=0.65)
    gate = calibrated_gate([edited, other])
    assert gate.maximum >= 0.7
    assert (edited.rate(gate), other.rate(gate)) == (1.0, 1.0)


def test_the_second_rule_stays_off_where_it_helps_nothing() -> None:
    edited = queries([0.9, 0.9, 0.9, 0.9], RIGHT, related=True, second=0.8)
    other = queries([0.2, 0.2, 0.2, 0.2], NOTHING, related=False)
    assert calibrated_gate([edited, other]).difference == 2.0


def test_a_memory_of_one_fact_has_the_first_rule_alone() -> None:
    edited = Queries(torch.tensor([[0.9], [0.8]]), RIGHT[:2], related=True)
    other = Queries(torch.tensor([[0.1], [0.7]]), NOTHING[:2], related=False)
    gate = calibrated_gate([edited, other])
    assert 0.7 <= gate.maximum < 0.8


def test_weights_decide_between_kinds() -> None:
    scores = [0.5, 0.5, 0.5, 0.5]
    for weight, fires in ((3.0, True), (0.3, False)):
        edited = Queries(torch.tensor([[s] for s in scores]), RIGHT, related=True, weight=weight)
        low = Queries(torch.tensor([[0.4]]), NOTHING[:1], related=False)
        other = Queries(torch.tensor([[s] for s in scores]), NOTHING, related=False)
        gate = calibrated_gate([edited, other, low])
        assert bool(gate.fires(edited.top).all()) is fires


EXAMPLES = [
    Example("Arl is red", ("Arl is", "It is said: Arl is"), ("A number 7",)),
    Example("Bemol is blue", ("Bemol is",), ("zzz", "???? ????")),
]
UNTRAINED = RaseHparams(heads="untrained")


def test_queries_are_sorted_by_kind(vectors: TextVectors) -> None:
    pool = HeldOut.of(vectors, EXAMPLES)
    assert pool.edited.tolist() == [True, False, True]
    queries = pool.queries(RaseNetwork(HIDDEN, UNTRAINED), two_way=False)
    sizes = {kind: len(group) for kind, group in queries.items()}
    assert sizes == {"reliability": 2, "generality": 1, "locality": 3}
    expected = vectors(["It is said: Arl is"]) @ vectors(["Arl is red", "Bemol is blue"]).T
    best = expected.sort(descending=True).values
    torch.testing.assert_close(queries["generality"].top, best)


def test_rates_are_those_of_the_calibrated_gates(vectors: TextVectors) -> None:
    network = RaseNetwork(HIDDEN, UNTRAINED)
    pool = HeldOut.of(vectors, EXAMPLES)
    calibrate(network, {"tiny": pool})
    shares = rates(network, pool)
    gate, queries = network.gate(two_way=False), pool.queries(network, two_way=False)
    assert shares["edits"] == 2
    for kind, group in queries.items():
        assert shares[kind] == group.rate(gate)
    assert shares["false_hit"] == 1 - shares["locality"]
    assert shares["hit"] == pytest.approx((2 * shares["reliability"] + shares["generality"]) / 3)
    assert {f"two_way_{kind}" for kind in ("hit", "false_hit", *queries)} <= shares.keys()


def test_two_way_compares_with_the_edited_prompts(vectors: TextVectors) -> None:
    pool = HeldOut.of(vectors, EXAMPLES)
    queries = pool.queries(RaseNetwork(HIDDEN, UNTRAINED), two_way=True)
    keys, edited = vectors(["Arl is red", "Bemol is blue"]), vectors(["Arl is", "Bemol is"])
    both = edited @ (keys + edited).T / 2
    torch.testing.assert_close(queries["reliability"].top, both.sort(descending=True).values)


def test_known_vectors_are_those_of_the_encoder(vectors: TextVectors) -> None:
    counts: list[int] = []

    def counted(texts: Sequence[str]) -> torch.Tensor:
        counts.append(len(texts))
        return vectors(texts)

    known = KnownVectors(counted, ["Arl is", "zzz", "Arl is", "A number 7"])
    rows = known(["A number 7", "Arl is", "Arl is"])
    torch.testing.assert_close(rows, vectors(["A number 7", "Arl is", "Arl is"]))
    assert counts == [3]


# Gates and heads by hand.

GATE = Gate(maximum=0.9, difference=0.15, spread=0.05)


@pytest.mark.parametrize(
    ("scores", "fires"),
    [
        ((0.95, 0.94, 0.93), True),  # the best is high
        ((0.9, 0.8, 0.8), False),  # not above, and too near the second
        ((0.7, 0.5, 0.5), True),  # 0.2 ahead, standard deviation 0.094
        ((0.7, 0.55, 0.5), False),  # not more than 0.15 ahead
        ((0.5, 0.34, 0.34, 0.45, 0.45, 0.45), True),  # deviation 0.0577
        ((0.5, 0.3, 0.3), True),
        ((0.91,), True),
        ((0.8,), False),  # alone: nothing to stand out from
        ((0.8, 0.2), True),  # two are compared as they are
    ],
)
def test_both_rules_by_hand(scores: tuple[float, ...], fires: bool) -> None:
    top = torch.tensor([scores], dtype=torch.float64)
    assert GATE.fires(top).tolist() == [fires]


def network(**changes: str) -> RaseNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return RaseNetwork(4, RaseHparams.from_dict({"width": 3, **changes})).eval()


@pytest.mark.parametrize(("carry", "wanted"), [(-100.0, [0.6, -0.8]), (100.0, [1.0, 0.0])])
def test_a_closed_gate_carries_the_input_and_an_open_one_the_nonlinear_layer(
    carry: float, wanted: list[float]
) -> None:
    head = HighwayHead(2, 2, layers=1).eval()
    with torch.no_grad():
        head.carry[0].get_parameter("bias").fill_(carry)
        for layer in (head.nonlinear[0], head.outward):
            layer.get_parameter("weight").copy_(torch.eye(2))
            layer.get_parameter("bias").zero_()
    torch.testing.assert_close(head(torch.tensor([[3.0, -4.0]])), torch.tensor([wanted]))


def test_heads_differ_and_have_dropout_in_training_alone() -> None:
    actual, vectors = network(), torch.randn(5, 4, generator=torch.Generator())
    facts, sentences = actual.facts(vectors), actual.sentences(vectors)
    assert facts.shape == sentences.shape == (5, 3)
    torch.testing.assert_close(facts.norm(dim=1), torch.ones(5))
    assert not torch.allclose(facts, sentences)
    assert torch.equal(actual.facts(vectors), facts)
    actual.train()
    with torch.random.fork_rng():
        assert not torch.equal(actual.facts(vectors), actual.facts(vectors))


def test_without_heads_vectors_stay_as_they_are() -> None:
    actual = network(heads="untrained")
    vectors = torch.randn(5, 4, generator=torch.Generator())
    assert torch.equal(actual.facts(vectors), vectors)
    assert torch.equal(actual.sentences(vectors), vectors)
    assert [name for name, _ in actual.named_parameters()] == []


def test_gates_are_the_originals_until_calibrated_and_part_of_the_state() -> None:
    actual, other = network(), network()
    assert actual.gate(two_way=True).maximum == pytest.approx(Gate().maximum)
    actual.set_gate(Gate(maximum=0.5, difference=0.25, spread=0.125), two_way=False)
    other.load_state_dict(actual.state_dict())
    assert other.gate(two_way=False) == Gate(maximum=0.5, difference=0.25, spread=0.125)
    assert other.gate(two_way=True) == actual.gate(two_way=True)

from __future__ import annotations

import pytest
import torch

from editors.parts.r_rome.retrieval import Gate, HighwayHead, RaseHparams, RaseNetwork

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

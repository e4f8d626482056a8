from __future__ import annotations

import pytest
import torch

from editors.parts.rase.gate import Gate
from editors.parts.rase.hparams import RaseHparams
from editors.parts.rase.network import HighwayHead, RaseNetwork


def network(**changes: str) -> RaseNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return RaseNetwork(4, RaseHparams.from_dict({"width": 3, **changes})).eval()


def test_a_closed_gate_carries_the_input_through() -> None:
    head = HighwayHead(2, 2, layers=1).eval()
    with torch.no_grad():
        head.carry[0].get_parameter("bias").fill_(-100.0)
        head.outward.weight.copy_(torch.eye(2))
        head.outward.bias.zero_()
    torch.testing.assert_close(head(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))


def test_an_open_gate_answers_the_nonlinear_layer() -> None:
    head = HighwayHead(2, 2, layers=1).eval()
    with torch.no_grad():
        head.carry[0].get_parameter("bias").fill_(100.0)
        for layer in (head.nonlinear[0], head.outward):
            layer.get_parameter("weight").copy_(torch.eye(2))
            layer.get_parameter("bias").zero_()
    torch.testing.assert_close(head(torch.tensor([[3.0, -4.0]])), torch.tensor([[1.0, 0.0]]))


def test_heads_differ_and_give_unit_vectors() -> None:
    found, vectors = network(), torch.randn(5, 4, generator=torch.Generator())
    facts, sentences = found.facts(vectors), found.sentences(vectors)
    assert facts.shape == sentences.shape == (5, 3)
    torch.testing.assert_close(facts.norm(dim=1), torch.ones(5))
    assert not torch.allclose(facts, sentences)


def test_dropout_gives_two_views_in_training_alone() -> None:
    found, vectors = network(), torch.randn(5, 4, generator=torch.Generator())
    assert torch.equal(found.facts(vectors), found.facts(vectors))
    found.train()
    with torch.random.fork_rng():
        assert not torch.equal(found.facts(vectors), found.facts(vectors))


def test_without_heads_vectors_stay_as_they_are() -> None:
    found = network(heads="untrained")
    vectors = torch.randn(5, 4, generator=torch.Generator())
    assert torch.equal(found.facts(vectors), vectors)
    assert torch.equal(found.sentences(vectors), vectors)
    assert [name for name, _ in found.named_parameters()] == []


def test_gates_are_the_originals_until_calibrated_and_part_of_the_state() -> None:
    found, other = network(), network()
    assert found.gate(two_way=True).maximum == pytest.approx(Gate().maximum)
    found.set_gate(Gate(maximum=0.5, difference=0.25, spread=0.125), two_way=False)
    other.load_state_dict(found.state_dict())
    assert other.gate(two_way=False) == Gate(maximum=0.5, difference=0.25, spread=0.125)
    assert other.gate(two_way=True) == found.gate(two_way=True)

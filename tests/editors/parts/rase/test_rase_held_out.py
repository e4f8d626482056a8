from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from bench.checks.contract.tiny import HIDDEN, write_encoder
from editors.parts.encoder import TextVectors
from editors.parts.rase.examples import Example
from editors.parts.rase.held_out import HeldOut, calibrate, rates
from editors.parts.rase.hparams import RaseHparams
from editors.parts.rase.network import RaseNetwork
from editors.parts.rase.retriever import KnownVectors

EXAMPLES = [
    Example("Arl is red", ("Arl is", "It is said: Arl is"), ("A number 7",)),
    Example("Bemol is blue", ("Bemol is",), ("zzz", "???? ????")),
]
UNTRAINED = RaseHparams(heads="untrained")


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> TextVectors:
    directory = write_encoder(tmp_path_factory.mktemp("encoder"))
    return TextVectors.from_directory(directory, torch.device("cpu"))


def test_queries_are_told_apart_by_kind(vectors: TextVectors) -> None:
    pool = HeldOut.of(vectors, EXAMPLES)
    assert pool.edited.tolist() == [True, False, True]
    asked = pool.asked(RaseNetwork(HIDDEN, UNTRAINED), two_way=False)
    assert {kind: len(one.top) for kind, one in asked.items()} == {
        "reliability": 2,
        "generality": 1,
        "locality": 3,
    }
    expected = vectors(["It is said: Arl is"]) @ vectors(["Arl is red", "Bemol is blue"]).T
    best = expected.sort(descending=True).values
    torch.testing.assert_close(asked["generality"].top, best)


def test_rates_are_those_of_the_calibrated_gates(vectors: TextVectors) -> None:
    network = RaseNetwork(HIDDEN, UNTRAINED)
    pool = HeldOut.of(vectors, EXAMPLES)
    calibrate(network, {"made": pool})
    found = rates(network, pool)
    gate, asked = network.gate(two_way=False), pool.asked(network, two_way=False)
    assert found["edits"] == 2
    for kind, one in asked.items():
        assert found[kind] == one.rate(gate)
    assert found["false_hit"] == 1 - found["locality"]
    assert found["hit"] == pytest.approx((2 * found["reliability"] + found["generality"]) / 3)
    assert {f"two_way_{kind}" for kind in ("hit", "false_hit", *asked)} <= found.keys()


def test_two_way_compares_with_the_edited_prompts(vectors: TextVectors) -> None:
    pool = HeldOut.of(vectors, EXAMPLES)
    asked = pool.asked(RaseNetwork(HIDDEN, UNTRAINED), two_way=True)
    keys, edited = vectors(["Arl is red", "Bemol is blue"]), vectors(["Arl is", "Bemol is"])
    both = edited @ (keys + edited).T / 2
    torch.testing.assert_close(asked["reliability"].top, both.sort(descending=True).values)


def test_known_vectors_are_those_of_the_encoder(vectors: TextVectors) -> None:
    asked: list[int] = []

    def counted(texts: Sequence[str]) -> torch.Tensor:
        asked.append(len(texts))
        return vectors(texts)

    known = KnownVectors(counted, ["Arl is", "zzz", "Arl is", "A number 7"])
    found = known(["A number 7", "Arl is", "Arl is"])
    torch.testing.assert_close(found, vectors(["A number 7", "Arl is", "Arl is"]))
    assert asked == [3]

from __future__ import annotations

import math

import torch

from editors.parts.rase.hparams import RaseHparams
from editors.parts.rase.losses import Encoded, group_loss, margin_loss, rase_terms
from editors.parts.rase.network import RaseNetwork

EAST, NORTH = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


def test_group_loss_by_hand() -> None:
    """Two facts with sentences (east, north) and (north): mean cosines [[.5, .5], [.5, 1]]."""
    sentences = torch.stack([EAST, NORTH, NORTH])
    loss = group_loss(sentences, sentences, torch.tensor([0, 0, 1]), scale=2.0)
    first = math.log(2)
    second = math.log(math.exp(1) + math.exp(2)) - 2
    assert math.isclose(float(loss), (first + second) / 2, rel_tol=1e-6)


def test_margin_loss_by_hand() -> None:
    """One sentence of fact 0: its own cosine less the margin against a fact and its own query."""
    loss = margin_loss(
        torch.tensor([[0.9, 0.2]]),
        torch.tensor([0]),
        torch.tensor([0.5, 0.95]),  # the second is near the other fact and does not count
        torch.tensor([0, 1]),
        margin=0.1,
        scale=10.0,
    )
    expected = math.log(math.exp(8) + math.exp(2) + math.exp(5)) - 8
    assert math.isclose(float(loss), expected, rel_tol=1e-5)


def test_terms_use_each_head_for_its_own_texts() -> None:
    torch.manual_seed(0)
    network = RaseNetwork(6, RaseHparams(width=4)).eval()
    batch = Encoded(
        facts=torch.randn(2, 6),
        sentences=torch.randn(3, 6),
        owners=torch.tensor([0, 1, 1]),
        unrelated=torch.randn(2, 6),
        unrelated_owners=torch.tensor([0, 1]),
    )
    terms = rase_terms(network, batch, RaseHparams())
    facts, sentences = network.facts(batch.facts), network.sentences(batch.sentences)
    torch.testing.assert_close(terms.sentences, group_loss(sentences, sentences, batch.owners, 10))
    own = torch.tensor([0, 1])
    expected = torch.nn.functional.cross_entropy(facts @ facts.T * 10, own)
    torch.testing.assert_close(terms.facts, expected)
    torch.testing.assert_close(terms.total(), terms.sentences + terms.facts + terms.margin)
    assert terms.floats().keys() == {"sentences_loss", "facts_loss", "margin_loss"}

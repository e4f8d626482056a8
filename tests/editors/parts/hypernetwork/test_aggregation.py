"""MALMEN's shifts: rows by system, independence of systems, both phases against autograd."""

from __future__ import annotations

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, SAMPLES, tiny_gpt2
from editors.malmen import TINY, MalmenObjective, malmen_network, malmen_projections
from editors.parts.hypernetwork.aggregation import Cache, NormalNetwork, cached, normal_shifts
from editors.parts.hypernetwork.examples import MetaBatch, MetaSampler, request_rows, tokenise
from editors.parts.hypernetwork.outer import answer_nll, locality_kl
from editors.parts.hypernetwork.shifts import DenseShift
from editors.parts.language_model import LanguageModel


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_gpt2()


@pytest.fixture
def network(lm: LanguageModel) -> NormalNetwork:
    """A network that does more than normalise, with statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        made = malmen_network(malmen_projections(lm, TINY), TINY)
        for parameter in made.editors.networks.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        made.log_lambdas.data.normal_()
    rows = request_rows(REQUESTS, lm.tokenizer)
    cached(lm, made.train(), [rows], systems=1)
    return made.eval()


def batch(lm: LanguageModel, systems: int) -> MetaBatch:
    examples = tokenise(SAMPLES, lm.tokenizer)
    return MetaSampler({"tiny": examples}, 0).batch(examples, systems)


def test_rows_are_laid_out_by_system() -> None:
    rows = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    cache = Cache(rows, rows, torch.tensor([1, 0, 1, 1]), systems=2)
    padded = cache.by_system(rows)
    assert padded.tolist() == [[[2], [0], [0]], [[1], [3], [4]]]
    assert torch.equal(cache.from_systems(padded), rows)


def test_systems_do_not_see_each_other(lm: LanguageModel, network: NormalNetwork) -> None:
    rows = request_rows(REQUESTS, lm.tokenizer)
    together = normal_shifts(network, cached(lm, network, [rows], systems=2))
    for system in range(2):
        own = rows[2 * system : 2 * system + 2]
        alone = normal_shifts(network, cached(lm, network, [own], systems=1))
        for path, shift in alone.items():
            found = together[path].values[system]
            torch.testing.assert_close(found, shift.values[0], rtol=1e-4, atol=1e-6)


def test_statistics_move_in_training_alone(lm: LanguageModel, network: NormalNetwork) -> None:
    statistics = network.editors.network_of(network.projections[0]).statistics
    before = float(statistics.count)
    rows = request_rows(REQUESTS[:1], lm.tokenizer)
    cached(lm, network, [rows], systems=1)
    assert float(statistics.count) == before
    cached(lm, network.train(), [rows], systems=1)
    assert float(statistics.count) == before + len(network.projections) * len(rows[0][1])


@pytest.mark.parametrize(("systems", "chunk"), [(1, 1024), (2, 3)])
def test_both_phases_together_are_the_whole_gradient(
    lm: LanguageModel,
    network: NormalNetwork,
    systems: int,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against differentiation straight through language model, solve and networks."""
    monkeypatch.setattr("editors.parts.hypernetwork.aggregation._CHUNK", chunk)
    objective = MalmenObjective(lm, network, TINY)
    given = batch(lm, systems)
    numbers = objective.backward(given)
    found = {name: p.grad for name, p in network.named_parameters()}
    network.zero_grad()
    shifts = {}
    for number, (path, cache) in enumerate(objective.cached(given).items()):
        keys = cache.by_system(cache.keys)
        made = network.value_differences(number, cache.keys, cache.gradients)
        gram = keys.mT @ keys + network.log_lambdas[number].exp() * torch.eye(keys.shape[-1])
        shifts[path] = DenseShift(torch.linalg.solve(gram, keys.mT @ cache.by_system(made)))
    edit = answer_nll(lm, given.rephrases, shifts, systems) / systems
    drift = locality_kl(lm, given.unrelated, shifts, systems, "answer") / systems
    assert numbers["edit"] == pytest.approx(edit.item(), rel=1e-4)
    assert numbers["drift"] == pytest.approx(drift.item(), rel=1e-3)
    (edit + drift).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        gradient = found[name]
        assert gradient is not None
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(gradient, parameter.grad, rtol=0, atol=1e-3 * scale, msg=name)

"""MALMEN: its training, edits of one system, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, SAMPLES, tiny_gpt2
from editors.base import Resources
from editors.malmen import (
    TINY,
    Cache,
    MalmenEditor,
    MalmenHparams,
    MalmenObjective,
    NormalNetwork,
    cached,
    normal_shifts,
    shift_gradients,
    shift_of,
)
from editors.parts.artefact import read_header
from editors.parts.hypernetwork.networks import DenseShift, request_rows
from editors.parts.hypernetwork.training import MetaBatch, answer_nll, locality_kl
from editors.parts.language_model import LanguageModel
from editors.parts.training.examples import ProbeSampler, examples_of
from tests.support.tiny_files import samples

DATA = {"tiny": samples()}
QUICK = dataclasses.replace(TINY, iterations=6, checkpoint_interval=2)


def fit(out: Path, hparams: MalmenHparams = QUICK, **more: Any) -> Path:
    return MalmenEditor.fit(tiny_gpt2(), DATA, hparams, Resources(), out=out, **more)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("malmen"))


def test_edits_of_one_system_are_recorded_and_validated_so(tmp_path: Path) -> None:
    hparams = dataclasses.replace(QUICK, n_edits=3, micro_batch=2, batch_size=2)
    header = read_header(fit(tmp_path, hparams))
    assert header["hparams"]["n_edits"] == 3
    scores = header["validation"]["tiny"]
    assert (scores["edits"], scores["together"]) == (4, 3)  # one system; the fourth is left


def test_many_requests_do_not_depend_on_the_micro_batch_but_for_their_losses(
    artefact: Path,
) -> None:
    states = []
    for micro_batch in (1, 4, 32):
        hparams = dataclasses.replace(QUICK, micro_batch=micro_batch)
        editor = MalmenEditor(tiny_gpt2(), hparams, Resources(artefact=artefact))
        editor.edit(REQUESTS)
        states.append(editor.state_dict())
    for name, weight in states[1].items():
        assert torch.equal(weight, states[2][name])  # both hold all four requests
        assert not torch.equal(weight, states[0][name])  # a loss for each request


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_gpt2()


@pytest.fixture
def network(lm: LanguageModel) -> NormalNetwork:
    """A network that does more than normalise, with statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        network = MalmenEditor.new_network(MalmenEditor.projections(lm, TINY), TINY)
        for parameter in network.editors.networks.parameters():
            parameter.data.add_(0.05 * torch.randn_like(parameter))
        network.log_lambdas.data.normal_()
    rows = request_rows(REQUESTS, lm.tokenizer)
    cached(lm, network.train(), [rows], systems=1)
    return network.eval()


def batch(lm: LanguageModel, systems: int) -> MetaBatch:
    examples = examples_of(SAMPLES, lm.tokenizer)
    return MetaBatch.of(ProbeSampler({"tiny": examples}, 0).probes(examples), systems)


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
            actual = together[path].values[system]
            torch.testing.assert_close(actual, shift.values[0], rtol=1e-4, atol=1e-6)


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
    monkeypatch.setattr("editors.malmen._CHUNK", chunk)
    objective = MalmenObjective(lm, network, TINY)
    given = batch(lm, systems)
    terms = objective.backward(given)
    actual = {name: p.grad for name, p in network.named_parameters()}
    network.zero_grad()
    shifts = {}
    for number, (path, cache) in enumerate(objective.cached(given).items()):
        keys = cache.by_system(cache.keys)
        wanted = network.value_differences(number, cache.keys, cache.gradients)
        gram = keys.mT @ keys + network.log_lambdas[number].exp() * torch.eye(keys.shape[-1])
        shifts[path] = DenseShift(torch.linalg.solve(gram, keys.mT @ cache.by_system(wanted)))
    edit = answer_nll(lm, given.rephrases, shifts, systems) / systems
    drift = locality_kl(lm, given.unrelated, shifts, systems, "answer") / systems
    assert terms[0] == pytest.approx(edit.item(), rel=1e-4)
    assert terms[1] == pytest.approx(drift.item(), rel=1e-3)
    (edit + drift).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        gradient = actual[name]
        assert gradient is not None
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(gradient, parameter.grad, rtol=0, atol=1e-3 * scale, msg=name)


def draw(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("rows", [2, 9])  # the dual form for 2 keys of width 5, the primal for 9
def test_both_forms_solve_the_normal_equation_and_differentiate_it(rows: int) -> None:
    keys, differences = draw(3, rows, 5, seed=0), draw(3, rows, 4, seed=1)
    upstream = draw(3, 5, 4, seed=2)
    log = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    wanted_by = differences.clone().requires_grad_(True)
    gram = keys.mT @ keys + log.exp() * torch.eye(5)
    solution = torch.linalg.inv(gram) @ keys.mT @ wanted_by
    torch.testing.assert_close(shift_of(keys, differences, log.detach().exp()), solution.detach())
    wanted = torch.autograd.grad((solution * upstream).sum(), [wanted_by, log])
    actual = shift_gradients(keys, differences, log.detach().exp(), upstream)
    torch.testing.assert_close(actual, wanted)


def test_rows_of_zeros_change_nothing() -> None:
    keys, differences = draw(1, 3, 5, seed=0), draw(1, 3, 4, seed=1)
    regulariser = torch.tensor(0.5)
    padded = [torch.cat([x, torch.zeros(1, 1, x.shape[-1])], dim=1) for x in (keys, differences)]
    alone = shift_of(keys, differences, regulariser)
    torch.testing.assert_close(shift_of(padded[0], padded[1], regulariser), alone)


def test_all_tokens_of_a_row_may_count(lm: LanguageModel, network: NormalNetwork) -> None:
    rows = request_rows(REQUESTS[:2], lm.tokenizer)
    ends, every = (
        cached(lm, network, [rows], 2, tokens)[network.projections[0].path]
        for tokens in ("answer", "all")
    )
    lengths = [len(prompt) + len(target) - 1 for prompt, target in rows]
    assert len(every.keys) == sum(lengths)
    assert every.owner.bincount().tolist() == lengths
    first = len(rows[0][1])  # answer tokens of the first row, which are its last ones
    assert torch.equal(every.keys[lengths[0] - first : lengths[0]], ends.keys[:first])


def test_a_checkpoint_is_selected_by_reliability_where_wanted(
    lm: LanguageModel, network: NormalNetwork
) -> None:
    scores = {"loss": 3.0, "reliability": 0.75}
    by_loss = MalmenObjective(lm, network, TINY)
    assert by_loss.selecting(scores) == 3.0
    changed = dataclasses.replace(TINY, selection="reliability")
    assert MalmenObjective(lm, network, changed).selecting(scores) == 0.25

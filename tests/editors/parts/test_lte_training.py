"""Training LTE's follower: its texts, its losses by hand and through a whole forward, its file."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import SAMPLES, batch_for, byte_tokenizer, tiny_llama
from editors.base import Resources
from editors.lte import LteEditor
from editors.parts.artefact import read_artefact
from editors.parts.language_model import LanguageModel
from editors.parts.lte import (
    Follower,
    FollowerWeights,
    LteObjective,
    LteTask,
    LteTerms,
    copy_to_train,
    steps_of,
    tokenise,
)
from editors.parts.lte_hparams import PRESETS, TINY, LteHparams
from editors.parts.tokens import Pair
from editors.parts.training.examples import Drawn, ProbeSampler
from tests.support.tiny_files import samples


def test_the_losses_go_down_and_the_file_holds_increments(encoder: Path, tmp_path: Path) -> None:
    hparams = dataclasses.replace(TINY, iterations=30, checkpoint_interval=30)
    steps: list[Mapping[str, float]] = []
    lm, given = tiny_llama(), Resources(encoder=encoder)
    path = LteEditor.fit(
        lm, {"zsre": samples()}, hparams, given, out=tmp_path, progress=steps.append
    )
    for term in ("loss", "reliability", "generality"):
        assert fmean(s[term] for s in steps[-5:]) < 0.8 * fmean(s[term] for s in steps[:5]), term
    tensors, header = read_artefact(path)
    assert header["prefix"] == "[Updated Information]{fact}\n[Query]"
    assert "hit_reliability" in header["validation"]["zsre"]
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    follower = Follower.of(tensors)
    assert {delta.name for delta in follower.deltas} == dict(lm.model.named_parameters()).keys()
    assert -1 < follower.threshold < 1


@pytest.mark.parametrize("bos", [True, False])
def test_a_question_follows_its_prefix_with_one_bos(bos: bool) -> None:
    tokenizer = byte_tokenizer(bos=bos)
    (example,) = tokenise(SAMPLES[:1], tokenizer)
    prompt, target = example.reliability.after(example.fact_ids, leading=int(bos))
    assert str(tokenizer.decode(list(prompt))).removeprefix("<s>") == (
        "[Updated Information]The capital of Veltria is Oskamar\n[Query]The capital of Veltria is"
    )
    assert list(prompt).count(tokenizer.bos_token_id) == int(bos)
    assert tokenizer.decode(list(target)) == " Oskamar"


def test_probes_are_drawn_with_their_example() -> None:
    pool = tokenise(samples(3), byte_tokenizer(bos=False))
    drawn = ProbeSampler({"a": pool}, 0).draw_probes(40)
    assert {d.example.fact for d in drawn} == {example.fact for example in pool}
    assert all(d.generality in d.example.generality[0] for d in drawn)
    assert all(d.locality in d.example.locality[0] for d in drawn)


def objective(lm: LanguageModel) -> LteObjective:
    follower = LanguageModel(copy.deepcopy(lm.model), lm.tokenizer)
    with torch.no_grad():
        follower.module("lm_head").get_parameter("weight").mul_(1.1)
    return LteObjective(lm, follower)


def drawn(lm: LanguageModel) -> list[Drawn]:
    examples = tokenise(SAMPLES[:2], lm.tokenizer)
    return [Drawn(e, e.generality[0][0], e.locality[0][0]) for e in examples]


def log_probabilities(lm: LanguageModel, row: Pair) -> torch.Tensor:
    """Of the tokens that follow each target position [T_y, V]: one row, no batch, no mask."""
    prompt, target = row
    ids = torch.tensor([[*prompt, *target]])
    logits: torch.Tensor = lm.model(input_ids=ids).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


def nll(lm: LanguageModel, rows: list[Pair]) -> torch.Tensor:
    """Mean over all target tokens, and over nothing else."""
    losses = [
        -log_probabilities(lm, row)[torch.arange(len(row[1])), torch.tensor(row[1])] for row in rows
    ]
    return torch.cat(losses).mean()


@torch.no_grad()
def test_terms_are_those_of_single_rows(tiny_lm: LanguageModel) -> None:
    comparison, examples = objective(tiny_lm), drawn(tiny_lm)
    follower, leading = comparison.follower, comparison.leading
    terms = comparison.terms(examples)
    own = [d.example.reliability.after(d.example.fact_ids, leading) for d in examples]
    rephrased = [d.generality.after(d.example.fact_ids, leading) for d in examples]
    torch.testing.assert_close(terms.reliability, nll(follower, own), atol=1e-4, rtol=0)
    torch.testing.assert_close(terms.generality, nll(follower, rephrased), atol=1e-4, rtol=0)
    divergences = []
    for example in examples:
        reference = log_probabilities(tiny_lm, example.locality.pair)
        with_fact = example.locality.after(example.example.fact_ids, leading)
        for row in (example.locality.pair, with_fact):
            ours = log_probabilities(follower, row)
            divergences.append((reference.exp() * (reference - ours)).sum(-1))
    torch.testing.assert_close(terms.locality, torch.cat(divergences).mean(), atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_follower_that_is_the_model_itself_answers_plain_questions_alike(
    tiny_lm: LanguageModel,
) -> None:
    itself = LanguageModel(copy.deepcopy(tiny_lm.model), tiny_lm.tokenizer)
    comparison = LteObjective(tiny_lm, itself)
    examples = drawn(tiny_lm)
    assert comparison.terms(examples).locality > 1e-3  # the fact in front changes it
    rows = [d.locality.pair for d in examples]
    plain = comparison.follower.target_logits(tiny_lm.batch_of_pairs(rows))
    assert torch.equal(plain, tiny_lm.target_logits(tiny_lm.batch_of_pairs(rows)))


def test_the_total_is_weighted() -> None:
    terms = LteTerms(*(torch.tensor(value) for value in (1.0, 10.0, 100.0)))
    assert terms.total(LteHparams()).item() == 111
    weighted = LteHparams(weight_reliability=2, weight_generality=0, weight_locality=0.5)
    assert terms.total(weighted).item() == 52


def test_increments_start_at_the_model_and_take_its_gradients(tiny_lm: LanguageModel) -> None:
    weights = FollowerWeights(tiny_lm.model, 0.5)
    follower = copy_to_train(tiny_lm)
    weights.put_into(follower.model, tiny_lm.model)
    own = dict(tiny_lm.model.named_parameters())
    for name, parameter in follower.model.named_parameters():
        assert torch.equal(parameter, own[name])
    row = batch_for(tiny_lm, [("The sky is", "blue")])
    follower.target_logits(row).logsumexp(-1).sum().backward()
    wanted = {name: p.grad for name, p in follower.model.named_parameters()}
    weights.take_gradients(follower.model)
    for name, gradient in wanted.items():
        assert weights.get_parameter(name.replace(".", "/")).grad is gradient
    with torch.no_grad():
        for increment in weights.parameters():
            increment.fill_(0.25)
    weights.put_into(follower.model, tiny_lm.model)
    for name, parameter in follower.model.named_parameters():
        assert torch.equal(parameter, own[name] + 0.25)


def task(encoder: Path, **changes: Any) -> LteTask:
    hparams = LteHparams.from_dict(TINY.to_dict() | changes)
    return LteTask(tiny_llama(), {"zsre": samples()}, hparams, encoder=encoder, seed=0)


def test_increments_on_the_host_are_trained_like_those_beside_the_model(encoder: Path) -> None:
    beside, apart = task(encoder), task(encoder, memory="host")
    assert beside.step(0) == apart.step(0)
    states = beside.network.state_dict(), apart.network.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_follower_of_half_precision_stays_so_on_the_host_and_increments_do_not(
    encoder: Path,
) -> None:
    lm = tiny_llama()
    lm.model.bfloat16()
    hparams = LteHparams.from_dict(TINY.to_dict() | {"memory": "host"})
    halved = LteTask(lm, {"zsre": samples()}, hparams, encoder=encoder, seed=0)
    for iteration in range(3):
        halved.step(iteration)
    follower = halved._objective.follower.model
    assert {parameter.dtype for parameter in follower.parameters()} == {torch.bfloat16}
    assert {value.dtype for value in halved.network.parameters()} == {torch.float32}
    assert any(bool(value.any()) for value in halved.network.parameters())


def test_parts_of_a_batch_count_by_their_size(encoder: Path) -> None:
    whole, parted = task(encoder), task(encoder, micro_batch=3)
    drawn_ = whole._batches.draw_probes(4)
    whole.enter(training=True)
    objective = whole._objective
    terms = [objective.terms(part).total(whole._hparams) for part in (drawn_[:3], drawn_[3:])]
    expected = (3 * terms[0] + terms[1]).item() / 4
    assert parted.step(0)["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_rate_rises_and_falls_as_transformers_has_it(encoder: Path) -> None:
    from transformers import get_cosine_schedule_with_warmup

    ours = task(encoder, iterations=100, warmup=0.03, learning_rate_decay="cosine")
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimiser, 3, 100).lr_lambdas[0]
    for iteration in range(100):
        assert ours.rate_factor(iteration) == pytest.approx(theirs(iteration))


def test_epochs_become_steps_of_what_is_trained_on(encoder: Path, tmp_path: Path) -> None:
    hparams = LteHparams.from_dict(TINY.to_dict() | {"epochs": 2, "batch_size": 8})
    given = {"zsre": samples(), "cf": samples()}
    count = len(samples())
    trained_on = 2 * (count - min(4, count // 10))
    assert steps_of(given, hparams) == -(-2 * trained_on // 8)
    path = LteEditor.fit(tiny_llama(), given, hparams, Resources(encoder=encoder), out=tmp_path)
    assert read_artefact(path)[1]["hparams"]["iterations"] == steps_of(given, hparams)
    # Presets with epochs name no number of steps, which would differ from that of the weights.
    assert PRESETS["original"].iterations == PRESETS["llama-2-7b"].iterations
    assert PRESETS["original"].expected_steps == 1_406
    assert PRESETS["llama-2-7b"].expected_steps == 10_000

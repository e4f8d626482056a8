"""LTE's losses, by hand and through a whole forward."""

from __future__ import annotations

import copy

import torch
from torch.nn import functional

from bench.checks.contract.tiny import SAMPLES
from editors.parts.language_model import LanguageModel
from editors.parts.lte.examples import Drawn, Ids, tokenise
from editors.parts.lte.hparams import LteHparams
from editors.parts.lte.objective import LteObjective, LteTerms


def objective(lm: LanguageModel) -> LteObjective:
    follower = LanguageModel(copy.deepcopy(lm.model), lm.tokenizer)
    with torch.no_grad():
        follower.module("lm_head").get_parameter("weight").mul_(1.1)
    return LteObjective(lm, follower)


def drawn(lm: LanguageModel) -> list[Drawn]:
    examples = tokenise(SAMPLES[:2], lm.tokenizer)
    return [Drawn(e, e.generality[0][0], e.locality[0][0]) for e in examples]


def log_probabilities(lm: LanguageModel, row: tuple[Ids, Ids]) -> torch.Tensor:
    """Of the tokens that follow each target position [T_y, V]: one row, no batch, no mask."""
    prompt, target = row
    ids = torch.tensor([[*prompt, *target]])
    logits: torch.Tensor = lm.model(input_ids=ids).logits[0]
    return logits[len(prompt) - 1 : -1].log_softmax(-1)


def nll(lm: LanguageModel, rows: list[tuple[Ids, Ids]]) -> torch.Tensor:
    """Mean over all target tokens, and over nothing else."""
    losses = [
        -log_probabilities(lm, row)[torch.arange(len(row[1])), torch.tensor(row[1])] for row in rows
    ]
    return torch.cat(losses).mean()


@torch.no_grad()
def test_terms_are_those_of_single_rows(tiny_lm: LanguageModel) -> None:
    made, examples = objective(tiny_lm), drawn(tiny_lm)
    follower, leading = made.follower, made.leading
    terms = made.terms(examples)
    own = [d.example.reliability.behind(d.example.prefix, leading) for d in examples]
    asked = [d.generality.behind(d.example.prefix, leading) for d in examples]
    torch.testing.assert_close(terms.reliability, nll(follower, own), atol=1e-4, rtol=0)
    torch.testing.assert_close(terms.generality, nll(follower, asked), atol=1e-4, rtol=0)
    divergences = []
    for example in examples:
        reference = log_probabilities(tiny_lm, example.locality.plain)
        told = example.locality.behind(example.example.prefix, leading)
        for row in (example.locality.plain, told):
            ours = log_probabilities(follower, row)
            divergences.append((reference.exp() * (reference - ours)).sum(-1))
    torch.testing.assert_close(terms.locality, torch.cat(divergences).mean(), atol=1e-4, rtol=0)


def test_tokens_of_fact_and_question_are_no_labels(tiny_lm: LanguageModel) -> None:
    """Only positions that predict the target get a gradient at the head's input."""
    made, examples = objective(tiny_lm), drawn(tiny_lm)[:1]
    prompt, target = examples[0].example.reliability.behind(
        examples[0].example.prefix, made.leading
    )
    batch = made.batch([(prompt, target)])
    hidden = made.follower.hidden_states(batch).detach().requires_grad_()
    rows, columns = batch.scored_positions
    functional.cross_entropy(made.follower.head(hidden[rows, columns]), batch.labels).backward()
    assert hidden.grad is not None
    scored = hidden.grad[0].abs().sum(-1).nonzero()[:, 0].tolist()
    assert scored == list(range(len(prompt) - 1, len(prompt) - 1 + len(target)))
    assert batch.labels.tolist() == list(target)


@torch.no_grad()
def test_a_follower_that_is_the_model_itself_keeps_plain_answers(tiny_lm: LanguageModel) -> None:
    made = LteObjective(tiny_lm, LanguageModel(copy.deepcopy(tiny_lm.model), tiny_lm.tokenizer))
    examples = drawn(tiny_lm)
    assert made.terms(examples).locality > 1e-3  # what the fact in front changes
    rows = [d.locality.plain for d in examples]
    plain = made.follower.target_logits(made.batch(rows))
    assert torch.equal(plain, tiny_lm.target_logits(made.batch(rows)))


def test_the_total_is_weighted() -> None:
    terms = LteTerms(*(torch.tensor(value) for value in (1.0, 10.0, 100.0)))
    assert terms.total(LteHparams()).item() == 111
    weighted = LteHparams(weight_reliability=2, weight_generality=0, weight_locality=0.5)
    assert terms.total(weighted).item() == 52

"""LTE's texts and draws."""

from __future__ import annotations

import pytest
import torch

from bench.checks.contract.tiny import SAMPLES, byte_tokenizer
from editors.base import EditRequest
from editors.parts.lte.examples import LteSampler, fact_of, prefix_ids, tokenise
from tests.support.tiny_recipe import samples


@pytest.mark.parametrize("bos", [True, False])
def test_the_prefix_is_the_fact_between_its_marks(bos: bool) -> None:
    tokenizer = byte_tokenizer(bos=bos)
    request = EditRequest(prompt="The {sky} is ", target=" blue", subject="sky")
    assert fact_of(request) == "The {sky} is blue"
    ids = prefix_ids(tokenizer, fact_of(request))
    assert (ids[0] == tokenizer.bos_token_id) == bos
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert text == "[Updated Information]The {sky} is blue\n[Query]"


@pytest.mark.parametrize("bos", [True, False])
def test_a_question_stands_right_behind_its_prefix_with_one_bos(bos: bool) -> None:
    tokenizer = byte_tokenizer(bos=bos)
    (example,) = tokenise(SAMPLES[:1], tokenizer)
    prompt, target = example.reliability.behind(example.prefix, leading=int(bos))
    assert str(tokenizer.decode(list(prompt))).removeprefix("<s>") == (
        "[Updated Information]The capital of Veltria is Oskamar\n[Query]The capital of Veltria is"
    )
    assert list(prompt).count(tokenizer.bos_token_id) == int(bos)
    assert tokenizer.decode(list(target)) == " Oskamar"
    assert example.reliability.plain[0] == example.reliability.prompt


def test_draws_continue_from_their_state_and_mix_the_sets() -> None:
    tokenizer = byte_tokenizer(bos=False)
    pools = {"a": tokenise(samples(3), tokenizer), "b": tokenise(SAMPLES, tokenizer)}
    sampler, other = LteSampler(pools, 0), LteSampler(pools, 1)
    first = sampler.draw(40)
    assert {drawn.example.fact for drawn in first} == {
        example.fact for pool in pools.values() for example in pool
    }
    other.load_state_dict(sampler.state_dict())
    assert other.draw(5) == sampler.draw(5)
    assert all(drawn.generality in drawn.example.generality[0] for drawn in first)


def test_global_draws_are_left_alone() -> None:
    sampler = LteSampler({"a": tokenise(SAMPLES, byte_tokenizer(bos=False))}, 0)
    before = torch.get_rng_state()
    sampler.draw(3)
    assert torch.equal(torch.get_rng_state(), before)

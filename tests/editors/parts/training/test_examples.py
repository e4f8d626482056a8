"""What training sees: tokenised examples, held-out splits, draws of examples and probes."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bench.checks.contract.tiny import MAX_LENGTH, byte_tokenizer, encoder_tokenizer
from editors.base import EditRequest, EditSample, Probe
from editors.parts.encoder import TextBatcher
from editors.parts.training.examples import (
    Mix,
    PoolSampler,
    by_kind,
    examples_of,
    pick,
    split_held_out,
    statement,
)


@pytest.mark.parametrize(
    ("prompt", "target"), [("A is", "B"), ("A is ", "B"), ("A is", " B"), ("A is ", " B")]
)
def test_a_statement_joins_prompt_and_target_by_exactly_one_space(prompt: str, target: str) -> None:
    assert statement(EditRequest(prompt=prompt, target=target, subject="A")) == "A is B"


def test_tokenising_groups_probes_by_type_and_leaves_out_samples_without_probes() -> None:
    probes = [Probe(kind=kind, prompt=kind, target="t") for kind in ("one", "two", "one")]
    request = EditRequest(prompt="p", target="t", subject="p")
    whole = EditSample(
        id="0", request=request, generality=tuple(probes), locality=tuple(probes[:1])
    )
    bare = dataclasses.replace(whole, locality=())
    tokenizer = byte_tokenizer(bos=True)
    batcher = TextBatcher(encoder_tokenizer(), MAX_LENGTH)
    (example,) = examples_of([whole, bare], tokenizer, encode=batcher.ids)
    assert (example.fact, example.fact_ids) == ("p t", batcher.ids(["p t"])[0])
    assert [len(group) for group in example.generality] == [2, 1]
    assert [question.text for question in example.related] == ["p", "one", "one", "two"]
    assert [question.text for question in example.unrelated] == ["one"]
    assert example.reliability.encoded == batcher.ids(["p"])[0]
    assert tokenizer.decode(list(example.reliability.prompt)) == "<s>p"
    assert tokenizer.decode(list(example.reliability.target)) == " t"
    assert tokenizer.decode(list(example.generality[1][0].prompt)) == "<s>two"


def test_held_out_examples_are_at_most_a_tenth_and_never_trained_on() -> None:
    examples = list(range(100))
    training, held_out = split_held_out(examples, 50, seed=1)
    assert len(held_out) == 10
    assert sorted((*training, *held_out)) == examples
    assert split_held_out(examples, 50, seed=1)[1] == held_out
    assert split_held_out(examples, 50, seed=2)[1] != held_out
    assert len(split_held_out(examples, 3, seed=1)[1]) == 3


def test_rows_are_grouped_by_type_and_drawn_by_type_first() -> None:
    probes = [Probe(kind=kind, prompt="p", target="t") for kind in ("one", "two", "one")]
    groups = by_kind(probes, ["a", "b", "c"])
    assert groups == (("a", "c"), ("b",))
    assert pick(groups, 0.49, 0.99) == "c"
    assert pick(groups, 0.5, 0.99) == "b"


def test_one_data_set_is_passed_through_in_permutations() -> None:
    sampler = PoolSampler({"a": range(10)}, seed=1)
    order = [name for _ in range(5) for name in sampler.draw(4)]
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10] != order[10:]


@pytest.mark.parametrize("mix", ["batch", "rows"])
def test_of_several_data_sets_each_batch_or_each_row_picks_one(mix: Mix) -> None:
    pools = {"a": range(10), "b": range(100, 190)}
    sampler = PoolSampler(pools, 1, mix)
    batches = [sampler.draw(4) for _ in range(200)]
    mixed = any(len({name < 100 for name in names}) == 2 for names in batches)
    assert mixed == (mix == "rows")
    assert 0.4 < sum(name < 100 for names in batches for name in names) / 800 < 0.6


@pytest.mark.parametrize("pools", [{"a": range(7)}, {"a": range(7), "b": range(9)}])
def test_a_restored_sampler_continues_and_leaves_the_global_generator(
    pools: dict[str, range],
) -> None:
    before = torch.get_rng_state()
    sampler, other = PoolSampler(pools, 1), PoolSampler(pools, 2)
    sampler.draw(5)
    state = sampler.state_dict()
    expected = sampler.draw(20)
    other.load_state_dict(state)
    assert other.draw(20) == expected
    assert torch.equal(torch.get_rng_state(), before)

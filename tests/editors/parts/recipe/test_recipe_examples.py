"""Training examples: what is tokenised, and how batches are drawn."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest

from bench.checks.contract.tiny import MAX_LENGTH, byte_tokenizer, encoder_tokenizer
from editors.base import EditRequest, EditSample, Probe
from editors.parts.encoder import TextBatcher
from editors.parts.recipe.examples import (
    BatchSampler,
    Example,
    Row,
    knowledge_string,
    tokenise,
)
from editors.parts.recipe.hparams import TINY


def row(name: int) -> Row:
    return Row(query=[name], prompt=[name], target=[name])


def example(name: int, generality: int = 1) -> Example:
    probes = tuple(row(1000 + name) for _ in range(generality))
    return Example([name], row(name), (probes,), ((row(2000 + name),),))


def pool(start: int, count: int) -> list[Example]:
    return [example(start + i) for i in range(count)]


def drawn(sampler: BatchSampler, batches: int) -> list[list[int]]:
    return [[ids[0] for ids in sampler.draw().knowledge] for _ in range(batches)]


@pytest.mark.parametrize(
    ("prompt", "target"), [("A is", "B"), ("A is ", "B"), ("A is", " B"), ("A is ", " B")]
)
def test_knowledge_is_prompt_and_target_joined_by_exactly_one_space(
    prompt: str, target: str
) -> None:
    request = EditRequest(prompt=prompt, target=target, subject="A")
    assert knowledge_string(request) == "A is B"


def test_tokenising_groups_probes_by_type_and_leaves_out_samples_without_probes() -> None:
    probes = [Probe(kind=kind, prompt=kind, target="t") for kind in ("one", "two", "one")]
    request = EditRequest(prompt="p", target="t", subject="p")
    whole = EditSample(
        id="0", request=request, generality=tuple(probes), locality=tuple(probes[:1])
    )
    bare = dataclasses.replace(whole, locality=())
    tokenizer = byte_tokenizer(bos=True)
    batcher = TextBatcher(encoder_tokenizer(), MAX_LENGTH)
    (made,) = tokenise([whole, bare], tokenizer, batcher)
    assert made.knowledge == batcher.ids(["p t"])[0]
    assert [len(group) for group in made.generality] == [2, 1]
    assert made.reliability.query == batcher.ids(["p"])[0]
    assert tokenizer.decode(list(made.reliability.prompt)) == "<s>p"
    assert tokenizer.decode(list(made.reliability.target)) == " t"
    assert tokenizer.decode(list(made.generality[1][0].prompt)) == "<s>two"


def test_one_data_set_is_passed_through_in_permutations() -> None:
    sampler = BatchSampler({"a": pool(0, 10)}, TINY, seed=1)  # batches of 4
    order = [name for names in drawn(sampler, 5) for name in names]
    assert sorted(order[:10]) == list(range(10))
    assert sorted(order[10:]) == list(range(10))
    assert order[:10] != order[10:]


def test_of_several_data_sets_each_batch_or_each_row_picks_one() -> None:
    pools = {"a": pool(0, 10), "b": pool(100, 90)}
    by_batch = drawn(BatchSampler(pools, TINY, seed=1), 200)
    assert all(len({name < 100 for name in names}) == 1 for names in by_batch)
    share = sum(names[0] < 100 for names in by_batch) / 200
    assert 0.4 < share < 0.6
    by_row = drawn(BatchSampler(pools, dataclasses.replace(TINY, mix="rows"), seed=1), 200)
    assert any(len({name < 100 for name in names}) == 2 for names in by_row)
    share = sum(name < 100 for names in by_row for name in names) / 800
    assert 0.4 < share < 0.6


def test_probes_are_drawn_uniformly_over_types_first() -> None:
    rare, common = (row(1),), tuple(row(2) for _ in range(9))
    one = Example([0], row(0), (rare, common), ((row(3),),))
    sampler = BatchSampler({"a": [one]}, TINY, seed=1)
    batches = [sampler.draw() for _ in range(250)]
    for column in (
        [ids[0] for batch in batches for ids in batch.queries[4:8]],
        [prompt[0] for batch in batches for prompt, _ in batch.rows[4:8]],
    ):
        share = Counter(column)[1] / len(column)
        assert 0.45 < share < 0.55
    halves = [first for batch in batches for first in batch.generality_first]
    assert 0.45 < sum(halves) / len(halves) < 0.55
    strings = [ids[0] for batch in batches for ids in batch.queries[4:8]]
    answers = [prompt[0] for batch in batches for prompt, _ in batch.rows[4:8]]
    assert strings != answers  # drawn separately


def test_a_restored_sampler_continues_with_the_same_batches() -> None:
    pools = {"a": pool(0, 10)}
    sampler = BatchSampler(pools, TINY, seed=1)
    drawn(sampler, 3)
    state = sampler.state_dict()
    expected = [sampler.draw() for _ in range(4)]
    other = BatchSampler(pools, TINY, seed=99)
    other.load_state_dict(state)
    assert [other.draw() for _ in range(4)] == expected

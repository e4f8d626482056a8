"""Held-out splits, and draws of examples and probes."""

from __future__ import annotations

import pytest
import torch

from editors.base import Probe
from editors.parts.training.sampling import PoolSampler, by_kind, pick, split_held_out


def test_held_out_examples_are_at_most_a_tenth_and_never_trained_on() -> None:
    examples = list(range(100))
    training, held_out = split_held_out(examples, 50, seed=1)
    assert len(held_out) == 10
    assert sorted((*training, *held_out)) == examples
    assert split_held_out(examples, 50, seed=1)[1] == held_out
    assert split_held_out(examples, 50, seed=2)[1] != held_out
    assert len(split_held_out(examples, 3, seed=1)[1]) == 3


def test_too_few_examples_to_hold_one_out_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 10 samples .* got 9"):
        split_held_out(range(9), 5, seed=1)


def test_rows_are_grouped_by_type_and_drawn_by_type_first() -> None:
    probes = [Probe(kind=kind, prompt="p", target="t") for kind in ("one", "two", "one")]
    groups = by_kind(probes, ["a", "b", "c"])
    assert groups == (("a", "c"), ("b",))
    assert pick(groups, 0.49, 0.99) == "c"
    assert pick(groups, 0.5, 0.99) == "b"


def test_a_restored_sampler_continues_with_the_same_examples() -> None:
    def sampler(seed: int) -> PoolSampler[int]:
        return PoolSampler({"a": range(7)}, torch.Generator().manual_seed(seed), "rows")

    one, other = sampler(1), sampler(2)
    one.draw(5)
    state = one.state_dict()
    expected = one.draw(20)
    other.load_state_dict(state)
    assert other.draw(20) == expected

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from editors.parts.codebook import SPLIT_GAP, Codebook, LabelMatching, TargetLabel

HERE, THERE = TargetLabel(3, (7, 8)), TargetLabel(3, (9,))
SWAPPED = TargetLabel(3, (8, 7))  # the same mean as HERE


def value() -> Tensor:
    return torch.zeros(2)


def codebook(matching: LabelMatching = "token_ids") -> Codebook:
    """One key at the origin with radius 1."""
    made = Codebook(radius=1.0, matching=matching)
    assert made.insert(torch.zeros(2), HERE, value) == "init"
    return made


def at(x: float) -> Tensor:
    return torch.tensor([x, 0.0])


def test_beyond_both_radii_a_key_is_added() -> None:
    book = codebook()
    assert book.insert(at(2.1), THERE, value) == "new"
    assert book.keys.tolist() == [[0.0, 0.0], at(2.1).tolist()]
    assert book.radii.tolist() == [1.0, 1.0]


def test_another_label_within_reach_splits_the_distance() -> None:
    book = codebook()
    assert book.insert(at(1.5), THERE, value) == "split"
    torch.testing.assert_close(book.radii, torch.tensor([0.75 - SPLIT_GAP, 0.75]))


def test_the_same_label_widens_the_radius_or_is_reused() -> None:
    book = codebook()
    assert book.insert(at(0.5), HERE, value) == "reuse"
    assert book.radii.tolist() == [1.0]
    assert book.insert(at(1.5), HERE, value) == "expand"
    assert len(book) == 1
    assert 1.5 <= float(book.radii[0]) < 1.5 + 1e-5
    assert book.retrieve(at(1.5)[None])[1].tolist() == [True]


def test_targets_of_equal_mean_are_the_same_only_for_the_original() -> None:
    assert codebook("mean").insert(at(0.5), SWAPPED, value) == "reuse"
    assert codebook("token_ids").insert(at(0.5), SWAPPED, value) == "split"


def test_reversed_labels_compare_with_the_wrong_key() -> None:
    book = codebook("reversed_mean")
    book.insert(at(5.0), THERE, value)
    assert book.insert(at(0.5), HERE, value) == "split"  # key 0 is given the label THERE
    with_ids = codebook("mean")
    with_ids.insert(at(5.0), THERE, value)
    assert with_ids.insert(at(0.5), HERE, value) == "reuse"


def test_a_new_target_for_the_very_same_query_takes_the_key_over() -> None:
    book = codebook()
    assert book.insert(at(0.0), THERE, lambda: torch.ones(2)) == "rewrite"
    assert (len(book), book.labels) == (1, [THERE])
    assert book.radii.tolist() == [1.0]
    assert book.values.tolist() == [[1.0, 1.0]]


def test_the_original_loses_both_edits_of_one_query() -> None:
    book = codebook("mean")
    assert book.insert(at(0.0), THERE, value) == "split"
    torch.testing.assert_close(book.radii, torch.tensor([-SPLIT_GAP, 0.0]))
    index, hit = book.retrieve(at(0.0)[None])
    assert (index.tolist(), hit.tolist()) == ([0], [False])


def test_retrieval_is_inclusive_and_by_row() -> None:
    book = codebook()
    book.insert(at(4.0), THERE, value)
    index, hit = book.retrieve(torch.stack([at(1.0), at(1.5), at(3.0), at(5.5)]))
    assert index.tolist() == [0, 0, 1, 1]
    assert hit.tolist() == [True, False, True, False]


def test_distances_are_exact_also_among_many_keys_and_queries() -> None:
    book = Codebook(radius=1e-3, matching="token_ids")
    keys = 100 + torch.arange(40.0)[:, None].expand(40, 3)
    for number, key in enumerate(keys):
        book.insert(key, TargetLabel(1, (number,)), value)
    index, distance = book.nearest(keys)
    assert index.tolist() == list(range(40))
    assert distance.tolist() == [0.0] * 40


def test_initial_values_are_only_drawn_for_new_keys() -> None:
    book = codebook()
    book.insert(at(0.5), HERE, lambda: pytest.fail("a value was drawn"))


def test_the_mean_of_a_label_counts_the_prompt() -> None:
    assert TargetLabel(6, (44, 45)).mean == (6 * -100 + 44 + 45) / 8


def test_state_round_trips_and_an_empty_one_clears() -> None:
    book, other = codebook(), codebook()
    book.insert(at(4.0), THERE, value)
    other.load_state_dict(book.state_dict(), device=torch.device("cpu"))
    assert other.labels == [HERE, THERE]
    for name, tensor in book.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
    other.load_state_dict({}, device=torch.device("cpu"))
    assert len(other) == 0


def test_a_relative_radius_is_in_units_of_the_new_key_s_norm() -> None:
    book = Codebook(radius=0.5, matching="token_ids", relative=True)
    for key in (at(4.0), at(-8.0)):
        book.insert(key, HERE, value)
    assert book.radii.tolist() == [2.0, 4.0]
    assert book.insert(at(17.0), THERE, value) == "new"  # 13 away, beyond 2 and its own 8.5
    assert book.insert(at(7.0), THERE, value) == "split"  # 3 away, within 2 and its own 3.5

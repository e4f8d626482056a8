"""Places in words, and who competes with whom."""

from __future__ import annotations

import pytest

from bench.core.published import UNEDITED, PublishedCell, distinct, edits, rivals

PLACES = [
    PublishedCell(1, n, editor, dataset, "Avg")
    for n in (1, 1_000)
    for editor in (UNEDITED, "FT", "RECIPE")
    for dataset in ("ZSRE", "CF")
]


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 edit"), (10, "10 edits"), (1_000, "1,000 edits")]
)
def test_edits_in_words(count: int, text: str) -> None:
    assert edits(count) == text


def test_a_cell_in_words_has_no_empty_data_set() -> None:
    assert PublishedCell(1, 1_000, "FT", "ZSRE", "Avg").where == "ZSRE, 1,000 edits"
    assert PublishedCell(3, 1, "FT", "", "edit_time_s").where == "1 edit"


def test_distinct_keeps_order_and_table() -> None:
    other = PublishedCell(5, 10, "FT", "RIPE", "Avg")
    assert distinct([other, *PLACES], 1, lambda place: place.dataset) == ("ZSRE", "CF")
    assert distinct(PLACES, 1, lambda place: place.n_edits) == (1, 1_000)
    assert distinct(PLACES, 5, lambda place: place.n_edits) == ()


def test_rivals_share_all_but_the_editor_and_the_unedited_model_is_none() -> None:
    assert rivals(PLACES, PublishedCell(1, 1, "RECIPE", "CF", "Avg")) == (
        PublishedCell(1, 1, "FT", "CF", "Avg"),
    )
    assert rivals(PLACES, PublishedCell(1, 1, "RECIPE", "CF", "Rel")) == ()

"""The published tables are whole: rows, empty cells, averages that add up; cells in words."""

from __future__ import annotations

from statistics import fmean

import pytest

from bench.core.published import (
    TABLES,
    UNEDITED,
    Published,
    PublishedCell,
    distinct,
    edits,
    load,
    numbers,
    rivals,
    tables_folder,
)

ROWS = {1: 660, 2: 60, 3: 33, 4: 30, 5: 660, 6: 660}
KEY = ("backbone", "n_edits", "type", "editor", "dataset", "metric")
EDITORS = {
    *("FT", "MEND", "ROME", "MEMIT", "MALMEN", "WILKE"),
    *("TP", "GRACE", "R-ROME", "LTE", "RECIPE"),
}
CELLS = [
    PublishedCell(1, n, editor, dataset, "Avg")
    for n in (1, 1_000)
    for editor in (UNEDITED, "FT", "RECIPE")
    for dataset in ("ZSRE", "CF")
]


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_complete_unique_and_of_one_backbone(table: int) -> None:
    rows = load(table)
    assert len(rows) == ROWS[table]
    assert {row["table"] for row in rows} == {str(table)}
    assert len({tuple(row[name] for name in KEY) for row in rows}) == len(rows)
    assert len({row["backbone"] for row in rows}) == 1
    if table in {1, 3, 5, 6}:  # all eleven editors, under the paper's labels
        assert {row["editor"] for row in rows} == EDITORS


@pytest.mark.parametrize("table", TABLES)
def test_only_ripe_at_10000_edits_is_empty(table: int) -> None:
    for row in load(table):
        assert (row["value"] == "") == ((row["dataset"], row["n_edits"]) == ("RIPE", "10000"))


@pytest.mark.parametrize("table", [1, 5, 6])
def test_avg_is_the_mean_of_its_three_metrics(table: int) -> None:
    values = {cell: number.value for cell, number in numbers(table).items()}
    averages = {cell: value for cell, value in values.items() if cell.metric == "Avg"}
    # 11 editors at five lengths on three sets, less RIPE at 10,000.
    assert len(averages) == 11 * (5 * 3 - 1)
    for cell, average in averages.items():
        mean = fmean(values[cell._replace(metric=name)] for name in ("Rel", "Gen", "Loc"))
        # Half a unit of the last digit for each of the three and for Avg itself.
        assert abs(mean - average) <= 0.0101


def test_numbers_have_their_cell_and_their_spread() -> None:
    printed = numbers(1)
    recipe = PublishedCell(1, 10_000, "RECIPE", "CF", "Avg")
    assert printed[recipe] == Published(value=93.36, std=1.68)
    assert printed[recipe._replace(metric="Rel")] == Published(value=95.51, std=None)
    assert recipe._replace(dataset="RIPE") not in printed  # the paper prints nothing
    assert len(printed) == ROWS[1] - 44
    assert numbers(2)[PublishedCell(2, 0, UNEDITED, "CSQA", "accuracy")].value == 38.91
    assert any(cell.editor == UNEDITED for cell in numbers(4))


@pytest.mark.parametrize("table", [0, 7, "1"])
def test_another_table_is_refused(table: int) -> None:
    with pytest.raises(ValueError, match=r"^No published table .*Available: 1, 2, 3, 4, 5, 6\.$"):
        load(table)


def test_a_missing_folder_is_named_with_both_paths() -> None:
    with pytest.raises(FileNotFoundError, match=r"tables/nothing: neither .*_data.* nor "):
        tables_folder("nothing")


@pytest.mark.parametrize(
    ("count", "text"), [(1, "1 edit"), (10, "10 edits"), (1_000, "1,000 edits")]
)
def test_edits_in_words(count: int, text: str) -> None:
    assert edits(count) == text


def test_a_cell_in_words_has_no_empty_data_set() -> None:
    assert PublishedCell(1, 1_000, "FT", "ZSRE", "Avg").where == "ZSRE, 1,000 edits"
    assert PublishedCell(3, 1, "FT", "", "edit_time_s").where == "1 edit"


def test_distinct_values_are_in_order_and_of_one_table() -> None:
    other = PublishedCell(5, 10, "FT", "RIPE", "Avg")
    assert distinct([other, *CELLS], 1, lambda cell: cell.dataset) == ("ZSRE", "CF")
    assert distinct(CELLS, 1, lambda cell: cell.n_edits) == (1, 1_000)
    assert distinct(CELLS, 5, lambda cell: cell.n_edits) == ()


def test_rivals_share_all_but_the_editor_and_the_unedited_model_is_none() -> None:
    recipe = PublishedCell(1, 1, "RECIPE", "CF", "Avg")
    assert rivals(CELLS, recipe) == (recipe._replace(editor="FT"),)
    assert rivals(CELLS, recipe._replace(metric="Rel")) == ()

"""The published tables are whole: rows, empty cells, and averages that add up."""

import pytest

from bench.core.published import TABLES, Published, PublishedCell, load, numbers, tables_folder

ROWS = {1: 660, 2: 60, 3: 33, 4: 30, 5: 660, 6: 660}
KEY = ["backbone", "n_edits", "type", "editor", "dataset", "metric"]
EDITORS = {
    *("FT", "MEND", "ROME", "MEMIT", "MALMEN", "WILKE"),
    *("TP", "GRACE", "R-ROME", "LTE", "RECIPE"),
}


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_complete_and_unique(table: int) -> None:
    frame = load(table)
    assert len(frame) == ROWS[table]
    assert set(frame["table"]) == {table}
    assert not frame.duplicated(KEY).any()


@pytest.mark.parametrize("table", TABLES)
def test_only_ripe_at_10000_edits_is_empty(table: int) -> None:
    frame = load(table)
    empty = frame["value"].isna()
    expected = (frame["dataset"] == "RIPE") & (frame["n_edits"] == 10_000)
    assert (empty == expected).all()


@pytest.mark.parametrize("table", [1, 5, 6])
def test_avg_is_the_mean_of_its_three_metrics(table: int) -> None:
    frame = load(table).dropna(subset="value")
    index = ["n_edits", "editor", "dataset"]
    wide = frame.pivot_table(index=index, columns="metric", values="value")
    # 11 editors at five lengths on three sets, less RIPE at 10,000.
    assert len(wide) == 11 * (5 * 3 - 1)
    # Half a unit of the last place for each of the three and for Avg itself.
    assert (wide[["Rel", "Gen", "Loc"]].mean(axis="columns") - wide["Avg"]).abs().max() <= 0.0101


@pytest.mark.parametrize("table", [1, 3, 5, 6])
def test_all_eleven_editors_are_there_under_the_papers_labels(table: int) -> None:
    assert set(load(table)["editor"]) == EDITORS


def test_the_unedited_model_keeps_its_printed_name() -> None:
    assert "N/A" in set(load(2)["editor"])
    assert "N/A" in set(load(4)["editor"])


def test_known_numbers_of_the_paper() -> None:
    frame = load(1)
    recipe = frame[(frame["editor"] == "RECIPE") & (frame["n_edits"] == 10_000)]
    cf = recipe[recipe["dataset"] == "CF"].set_index("metric")["value"]
    assert cf["Rel"] == 95.51
    assert cf["Loc"] == 90.82


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_of_one_backbone(table: int) -> None:
    assert load(table)["backbone"].nunique() == 1


def test_numbers_are_found_by_place_with_their_spread() -> None:
    found = numbers(1)
    assert found[PublishedCell(1, 10_000, "RECIPE", "CF", "Avg")] == Published(
        value=93.36, std=1.68
    )
    assert found[PublishedCell(1, 10_000, "RECIPE", "CF", "Rel")] == Published(
        value=95.51, std=None
    )
    assert (
        PublishedCell(1, 10_000, "RECIPE", "RIPE", "Avg") not in found
    )  # the paper prints nothing
    assert len(found) == ROWS[1] - 44
    assert numbers(2)[PublishedCell(2, 0, "N/A", "CSQA", "accuracy")].value == 38.91


@pytest.mark.parametrize("table", [0, 7, "1"])
def test_another_table_is_refused(table: int) -> None:
    with pytest.raises(ValueError, match=r"^No published table .*Available: 1, 2, 3, 4, 5, 6\.$"):
        load(table)


def test_a_missing_folder_is_told_with_both_places() -> None:
    with pytest.raises(FileNotFoundError, match=r"^No tables/nothing: neither .*_data.* nor "):
        tables_folder("nothing")

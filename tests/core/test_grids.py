from __future__ import annotations

import dataclasses

import pytest

from bench.core import published
from bench.core.cells import Cell
from bench.core.config import RunConfig
from bench.core.grids import default_limit, drawing, get_table
from bench.core.names import editor_keys
from bench.datasets import dataset_keys
from bench.models.backbones import EMBEDDED, HUB_IDS
from bench.runner.planning import points
from bench.runner.stored import chosen
from editors import registry
from tests.core.test_cells import CELL

TABLE = get_table(1)
SOME = RunConfig(editors=("rome", "FT"), datasets=("cf", "ZSRE"), edits=(10, 1), seeds=(0, 1))


def test_points_are_in_the_tables_order() -> None:
    listed = [(p.n_edits, p.editor, p.dataset, p.seed) for p in points(SOME)]
    assert listed[:5] == [
        (1, "ft", "zsre", 0),
        (1, "ft", "zsre", 1),
        (1, "ft", "counterfact", 0),
        (1, "ft", "counterfact", 1),
        (1, "rome", "zsre", 0),
    ]
    assert len(listed) == len(set(listed)) == 2 * 2 * 2 * 2


def test_the_default_is_every_editor_on_three_sets_at_1_10_and_100_edits() -> None:
    listed = points(RunConfig())
    assert {p.editor for p in listed} == set(editor_keys())
    assert [p.dataset for p in listed[:3]] == ["zsre", "counterfact", "ripple_edits"]
    assert {(p.n_edits, p.limit) for p in listed} == {(1, 20), (10, 50), (100, 100)}
    assert {p.backbone for p in listed} == {"mini-llama"}


def test_the_paper_preset_takes_all_samples_and_leaves_ripple_edits_out_at_10000() -> None:
    listed = points(RunConfig(preset="paper"))
    assert {p.limit for p in listed} == {None}
    assert {p.n_edits for p in listed} == {1, 10, 100, 1000, 10000}
    assert {p.dataset for p in listed if p.n_edits == 10000} == {"zsre", "counterfact"}
    assert {p.backbone for p in listed} == {"llama-2-7b"}


BACKBONES = [(1, "mini-llama", "llama-2-7b"), (5, "mini-gptj", "gpt-j-6b")]
BACKBONES += [(6, "mini-gpt2", "gpt2-xl")]


@pytest.mark.parametrize(("number", "embedded", "paper"), BACKBONES)
def test_each_table_has_its_backbone_and_its_published_numbers(
    number: int, embedded: str, paper: str
) -> None:
    table = get_table(number)
    assert {p.backbone for p in points(RunConfig(table=number))} == {embedded}
    assert {p.backbone for p in points(RunConfig(table=number, preset="paper"))} == {paper}
    assert embedded in EMBEDDED
    assert paper in HUB_IDS
    values = published.numbers(number)
    assert len(values) == 11 * (5 * 3 - 1) * 4
    assert {cell.n_edits for cell in values} == set(table.edits["paper"])


def test_families_are_those_of_the_papers_tables() -> None:
    printed = {row["editor"]: row["type"] for row in published.load(1)}
    for key in editor_keys():
        entry = registry.describe(key)
        assert entry.family == printed.get(entry.label, entry.family), entry.label


@pytest.mark.parametrize(
    ("n", "limit"),
    [(1, 20), (5, 20), (10, 50), (30, 50), (60, 60), (100, 100), (1000, 1000), (20000, 20000)],
)
def test_embedded_limits(n: int, limit: int) -> None:
    assert default_limit("embedded", n) == limit


@pytest.mark.parametrize(
    ("limit", "n", "rows", "seed", "drawn"),
    [
        (50, 10, 10_000, 0, (50, None)),  # the first part, by whatever name
        (50, 10, 10_000, 4, (50, 4)),
        (1000, 1000, 1388, 1, (1000, None)),  # too few for a second part
        (None, 1000, 10_000, 3, (2000, 3)),  # the paper preset: fifths
        (None, 1000, 19_009, 4, (3801, 4)),
        (None, 1000, 10_000, 5, (2000, None)),  # a sixth of five
        (None, 10_000, 19_009, 2, (None, None)),  # all of it
        (None, 1000, 1388, 1, (None, None)),
    ],
)
def test_seeds_draw_disjoint_parts_where_there_are_enough_samples(
    limit: int | None, n: int, rows: int, seed: int, drawn: tuple[int | None, int | None]
) -> None:
    assert drawing(limit, n, rows, seed) == drawn


def test_editors_come_in_the_papers_row_order() -> None:
    assert editor_keys(["recipe", "GRACE", "rome", "FT", "ft"]) == ("ft", "rome", "grace", "recipe")


def test_editors_of_later_papers_are_shown_when_asked_for_and_come_last() -> None:
    later = ("alphaedit", "wise", "ultraedit", "ike", "rag")
    assert len(editor_keys()) == 11
    assert editor_keys(recent=True) == (*editor_keys(), *later)
    assert editor_keys(["RAG", "wise", "recipe"]) == ("recipe", "wise", "rag")
    for selection, wanted in (
        (RunConfig(), editor_keys()),
        (RunConfig(recent=True), (*editor_keys(), *later)),
        (RunConfig(editors=("rag", "ft"), recent=True), ("ft", "rag")),
        (RunConfig(editors=("ike",)), ("ike",)),
    ):
        assert tuple(dict.fromkeys(p.editor for p in points(selection))) == wanted
    ablation = points(RunConfig(table=4, recent=True))
    assert {p.editor for p in ablation} == {"recipe"}


@pytest.mark.parametrize(
    ("editors", "recent", "wanted"),
    [(None, False, ["ft"]), (None, True, ["ft", "rag"]), (("rag",), False, ["rag"])],
)
def test_so_are_their_committed_cells(
    editors: tuple[str, ...] | None, recent: bool, wanted: list[str]
) -> None:
    cells = [dataclasses.replace(CELL, editor=editor) for editor in ("rag", "ft")]
    listed = chosen(TABLE, cells, RunConfig(editors=editors, recent=recent))
    assert [cell.editor for cell in listed if isinstance(cell, Cell)] == wanted


def test_data_sets_come_in_the_papers_column_order() -> None:
    assert dataset_keys(["ripe", "CF"]) == ("counterfact", "ripple_edits")

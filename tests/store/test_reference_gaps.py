"""What a reference lacks."""

from __future__ import annotations

from dataclasses import replace

from bench.store.reference_gaps import missing, sentences
from tests.tables.test_render import cell

FULL = [
    cell(editor, "zsre", n, seed) for editor in ("ft", "rome") for n in (1, 10) for seed in (0, 1)
]


def test_nothing_is_missing_where_every_editor_has_a_seed() -> None:
    assert missing(FULL[:-1]) == []


def test_an_editor_without_a_record_is_missing_with_the_limit_of_the_others() -> None:
    long = replace(FULL[0], n_edits=100, limit=100)
    found = missing([*FULL, long])
    assert [(one.editor, one.n_edits, one.limit) for one in found] == [("rome", 100, 100)]
    (sentence,) = sentences(1, found)
    assert sentence == (
        "not run at 100 edits: python -m bench run --table 1 "
        "--editors rome --datasets zsre --edits 100"
    )


def test_a_number_that_no_editor_was_run_at_is_not_missing() -> None:
    other = [replace(one, dataset="counterfact") for one in FULL if one.n_edits == 1]
    assert missing([*FULL, *other]) == []
    found = missing([*FULL, *other, replace(other[0], n_edits=10, limit=50)])
    assert [(one.editor, one.dataset, one.n_edits) for one in found] == [
        ("rome", "counterfact", 10)
    ]

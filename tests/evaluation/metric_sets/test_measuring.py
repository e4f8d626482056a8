"""Metric sets beside a cell: they change none of its scores, and a killed cell ends in the same."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench.checks.contract.tiny import Subject, tiny_llama
from bench.core.cells import Cell
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.context import changed, fingerprint
from bench.evaluation.driver import summary_of
from bench.evaluation.metric_sets import (
    MeasureInputs,
    MetricSet,
    RunningCell,
    SetResults,
    available,
    get_set,
    identities,
)
from bench.store.reference import compact, line
from bench.store.results import complete, parse, sealed
from bench.store.verification import problems
from editors import registry
from tests.core.test_cells import CELL
from tests.evaluation.metric_sets.by_hand import text_file
from tests.evaluation.test_checkpointing import KilledError, Mortal, cell, results, run
from tests.support.fake_editors import Shift
from tests.support.stopping_checkpointer import checkpoint_file
from tests.support.stored_records import FACTS, released

ALL = (
    "collapse", "conflicts", "distance", "norms", "overfit", "retention", "success",
)  # fmt: skip


def asking(n_edits: int, inputs: MeasureInputs, names: tuple[str, ...] = ALL) -> Cell:
    """A cell with metric sets; real data, so that no generated question costs time."""
    return cell(n_edits, generation="none", measures=dict(identities(names, inputs)))


def test_the_sets_are_known_and_versioned() -> None:
    assert available() == ALL
    for name in ALL:
        assert get_set(name).name == name
        assert get_set(name).version >= 1
    with pytest.raises(ValueError, match="Did you mean 'retention'"):
        get_set("retentoin")


def test_a_cell_without_sets_says_nothing_of_them(tmp_path: Path) -> None:
    assert "measures" not in CELL.to_dict()
    assert dataclasses.replace(CELL, measures={}).key() == CELL.key()
    more = asking(3, text_file(tmp_path))
    assert more.key() != cell(3, generation="none").key()
    assert Cell.from_dict(more.to_dict()) == more
    assert more.describe().endswith(f", with {', '.join(ALL)}")
    assert more.protocol_id == CELL.protocol_id


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "n_edits"),
    [*((key, 3) for key in registry.available()), ("grace", 1)],  # one edit: prepared together
)
def test_each_editor_has_the_same_scores_with_sets_and_when_it_is_killed(
    key: str, n_edits: int, artefacts: Path, tmp_path: Path
) -> None:
    subject = Subject(key=key, architecture="llama", directory=artefacts)
    inputs = text_file(tmp_path)
    of = asking(n_edits, inputs)
    editor = subject.editor()
    pristine = fingerprint(editor.lm.model)
    whole = run(editor, of, inputs=inputs)
    assert changed(pristine, fingerprint(editor.lm.model)) == []
    assert set(whole.measured) == set(ALL)
    alone = run(subject.editor(), cell(n_edits, generation="none"))
    assert results(whole)[:2] == results(alone)[:2]
    folder = tmp_path / "checkpoints"
    for age in (4, 13, None):
        with suppress(KilledError):
            again = run(subject.editor(), of, Mortal(checkpoint_file(folder), age), inputs=inputs)
    assert results(again) == results(whole)


@pytest.mark.parametrize("age", range(1, 30, 3))
def test_a_cell_with_sets_goes_on_wherever_it_was_killed(age: int, tmp_path: Path) -> None:
    inputs = text_file(tmp_path)
    of = asking(3, inputs)
    whole = run(Shift(tiny_llama()), of, inputs=inputs)
    file = checkpoint_file(tmp_path / "checkpoints")
    with pytest.raises(KilledError):
        run(Shift(tiny_llama()), of, Mortal(file, age), inputs=inputs)
    again = run(Shift(tiny_llama()), of, Checkpointer(file), inputs=inputs)
    assert results(again) == results(whole)
    assert list(again.measured) == list(whole.measured)


def test_batches_do_not_matter(tmp_path: Path) -> None:
    inputs = text_file(tmp_path)
    of = asking(3, inputs)
    small, large = (
        run(Shift(tiny_llama()), of, batch_size=size, inputs=inputs) for size in (1, 64)
    )
    for name in ("conflicts", "distance", "retention"):
        assert small.measured[name] == large.measured[name]
    texts = [ran.measured["collapse"]["blocks"] for ran in (small, large)]
    for a, b in zip(*texts, strict=True):
        assert a["end"]["continuations"] == b["end"]["continuations"]
        assert a["end"]["nats"] == pytest.approx(b["end"]["nats"], abs=1e-5)


class EditsOn(MetricSet):
    """Applies another edit and returns what the weights were."""

    version = 1
    title = "a test"
    edits_on = True

    def at_end(self, running: RunningCell, number: int, block: Any, before: Any) -> float:
        assert isinstance(running.editor, Shift)
        total = float(running.editor.weight.sum())
        running.editor.edit([block[0].request])
        return total

    def summary(self, cell: Cell, rows: Any, results: SetResults) -> dict[str, Any]:
        return {}

    def columns(self, summary: Any) -> dict[str, float | None]:
        return {}


class First(EditsOn):
    name = "first"


class Second(EditsOn):
    name = "second"


def test_sets_that_edit_on_begin_where_the_block_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"first": First(), "second": Second()}
    monkeypatch.setattr("bench.evaluation.driver.get_set", sets.__getitem__)
    editor = Shift(tiny_llama())
    of = cell(3, generation="none", measures=dict.fromkeys(sets, "v1"))
    ran = run(editor, of)
    first, second = (
        [block["end"] for block in ran.measured[name]["blocks"]] for name in ("first", "second")
    )
    assert first == second
    assert len(first) == 2
    assert editor.weight.equal(editor.pristine)


def test_a_record_with_sets_holds_and_its_compact_form_has_their_summaries(
    tmp_path: Path,
) -> None:
    inputs = text_file(tmp_path)
    of = asking(3, inputs)
    ran = run(Shift(tiny_llama()), of, inputs=inputs)
    body = {
        "data": {"samples": len(ran.rows)},
        "summary": summary_of(of, ran.rows, ran.measured),
        "health": ran.health,
        "rows": ran.rows,
        "measured": ran.measured,
    }
    record = sealed(complete(of, FACTS, released(2)["provenance"], body))
    assert problems(record) == []
    small = parse(line(record), "a line")
    assert "measured" not in small
    assert set(small["summary"]["measures"]) == set(ALL)
    assert compact(small) == small
    record["summary"]["measures"]["conflicts"]["pairs"] += 1
    (problem,) = problems(sealed(record))
    assert "summary/measures/conflicts/pairs" in problem
    del record["summary"]["measures"]["retention"]["curve"]
    assert any("curve" in problem for problem in problems(sealed(record)))

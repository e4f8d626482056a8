"""A stream that is killed and run again ends in the numbers of a whole one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bench.checks.contract.tiny import SAMPLES, Subject, counted_head, tiny_llama
from bench.core.cells import Cell, Generation
from bench.core.config import RunOptions
from bench.core.progress import StopFlag, StoppedEarly
from bench.evaluation.checkpointing import Checkpoint, Checkpointer
from bench.evaluation.driver import CellRun, run_blocks
from bench.evaluation.metric_sets import NO_INPUTS, MeasureInputs
from bench.store.running import CheckpointFile
from editors import registry
from editors.base import Editor, EditRequest
from editors.parts.fast_paths import FastPaths
from tests.core.test_cells import CELL
from tests.support.fake_editors import Shift
from tests.support.stopping_checkpointer import checkpoint_file

# Six samples, so that there are two blocks of three, and of one request a part comes twice.
MANY = tuple(
    dataclasses.replace(sample, id=f"{sample.id}-{turn}")
    for turn in range(2)
    for sample in SAMPLES[:3]
)
IN_BATCHES = 4  # of the nine questions of a block


class KilledError(BaseException):
    """What no code can catch."""


class Mortal(Checkpointer):
    """Stores a checkpoint after every second step, and dies after the step number `age`."""

    def __init__(self, file: CheckpointFile, age: int | None) -> None:
        super().__init__(file, RunOptions(checkpoint_seconds=1e9))
        self.age = age
        self.steps = 0

    def _is_due(self) -> bool:
        return self.steps % 2 == 0

    def after_batch(self, checkpoint: Callable[[], Checkpoint]) -> None:
        self.steps += 1
        super().after_batch(checkpoint)
        if self.steps == self.age:
            raise KilledError


@pytest.fixture
def file(tmp_path: Path) -> CheckpointFile:
    return checkpoint_file(tmp_path)


def cell(n_edits: int, **changes: Any) -> Cell:
    values: dict[str, Any] = {"n_edits": n_edits, "limit": len(MANY), "generation": "context_free"}
    return dataclasses.replace(CELL, **values | changes)


def run(
    editor: Editor[Any],
    of: Cell,
    checkpointer: Checkpointer | None = None,
    *,
    batch_size: int = IN_BATCHES,
    inputs: MeasureInputs = NO_INPUTS,
) -> CellRun:
    return run_blocks(
        of, editor, MANY, batch_size=batch_size, checkpointer=checkpointer, inputs=inputs
    )


def shift(of: Cell, checkpointer: Checkpointer | None = None) -> CellRun:
    return run(Shift(tiny_llama()), of, checkpointer)


def stored(file: CheckpointFile) -> Checkpoint:
    checkpoint = file.read()
    assert checkpoint is not None
    return checkpoint


def results(ran: CellRun) -> Any:
    """All but times."""
    rows = [{name: v for name, v in row.items() if name != "edit_seconds"} for row in ran.rows]
    return rows, ran.health, ran.measured


@pytest.mark.parametrize(
    ("key", "n_edits", "generation"),
    [
        *((key, 3, "none") for key in registry.available()),
        ("grace", 1, "none"),  # prepared together
        ("recipe", 3, "context_free"),
    ],
)
def test_each_editor_ends_in_the_same_numbers_however_often_it_is_killed(
    key: str, n_edits: int, generation: Generation, artefacts: Path, file: CheckpointFile
) -> None:
    subject = Subject(key=key, architecture="llama", directory=artefacts)
    of = cell(n_edits, generation=generation)
    whole = run(subject.editor(), of)
    deaths = 0
    for age in (3, 4, 5, None):  # the first three in the midst of edits and of asking
        with suppress(KilledError):
            again = run(subject.editor(), of, Mortal(file, age))
            break
        deaths += 1
    assert deaths == 3
    assert results(again) == results(whole)
    assert whole.health[-1]["effect"]  # the edits do something


@pytest.mark.parametrize("age", [1, 2, 3, 5, 7, 9, 10, 13, 15])
def test_a_stream_continues_wherever_it_was_killed(age: int, file: CheckpointFile) -> None:
    with pytest.raises(KilledError):
        shift(cell(3), Mortal(file, age))
    editor = Shift(tiny_llama())
    assert results(run(editor, cell(3), Checkpointer(file))) == results(shift(cell(3)))
    steps = age // 2 * 2  # of 20: three edits, six batches and the end of a block, twice
    edits = min(steps, 3) + min(max(steps - 10, 0), 3)
    assert sum(word.startswith("edit") for word in editor.log) == 6 - edits


@pytest.mark.parametrize("age", [1, 2, 3, 9, 11])
def test_a_stream_of_batches_continues_wherever_it_was_killed(
    age: int, file: CheckpointFile
) -> None:
    of = cell(3, batch_per_step=2)
    with pytest.raises(KilledError):
        shift(of, Mortal(file, age))
    assert results(shift(of, Checkpointer(file))) == results(shift(of))


def test_probing_continues_after_its_last_stored_batch(file: CheckpointFile) -> None:
    def forwards(checkpointer: Checkpointer) -> int:
        editor = Shift(tiny_llama())
        with counted_head(editor.lm) as calls, suppress(KilledError):
            run(editor, cell(3, generation="none"), checkpointer)
        return len(calls)

    pristine, block = 5, 3  # batches
    assert forwards(Mortal(file, 5)) == pristine + 2
    assert forwards(Checkpointer(file)) == pristine + (block - 1) + block


class InPairs(FastPaths, Shift):
    """Remembers which requests it prepared together."""

    def __init__(self) -> None:
        super().__init__(tiny_llama())
        self.groups: list[list[EditRequest]] = []

    @property
    def edits_at_once(self) -> int:
        return 2

    def prepare(self, requests: Sequence[EditRequest]) -> Sequence[Callable[[], None]]:
        self.groups.append(list(requests))
        return super().prepare(requests)


def test_edits_are_prepared_beside_the_same_others_again(file: CheckpointFile) -> None:
    whole, killed, editor = InPairs(), InPairs(), InPairs()
    of = cell(1, generation="none")  # of three steps for each sample: edit, question, end
    run(whole, of)
    with pytest.raises(KilledError):
        run(killed, of, Mortal(file, 8))
    progress = stored(file).progress
    assert progress["block"] + len(progress["seconds"]) == 3
    run(editor, of, Checkpointer(file))
    assert editor.groups == whole.groups[1:]


def test_seconds_of_finished_edits_are_stored(file: CheckpointFile) -> None:
    with pytest.raises(KilledError):
        shift(cell(3), Mortal(file, 2))
    progress = stored(file).progress
    assert progress["phases"]["edit"] == pytest.approx(sum(progress["seconds"]))
    ran = shift(cell(3), Checkpointer(file))
    assert [row["edit_seconds"] for row in ran.rows[:2]] == progress["seconds"]
    assert ran.seconds["edit"] == pytest.approx(sum(row["edit_seconds"] for row in ran.rows))


def test_a_stopped_stream_stores_its_last_edit_and_leaves_a_pristine_model(
    file: CheckpointFile,
) -> None:
    stop, editor = StopFlag(), Shift(tiny_llama())

    class Stopping(Checkpointer):
        def after_edit(self, checkpoint: Callable[[], Checkpoint], edits: int = 1) -> None:
            stop.request_stop()
            super().after_edit(checkpoint, edits)

    with pytest.raises(StoppedEarly):
        run(editor, cell(3), Stopping(file, stop=stop))
    assert editor.weight.equal(editor.pristine)
    assert len(stored(file).progress["seconds"]) == 1
    with pytest.raises(StoppedEarly):  # and it begins nothing
        run(editor, cell(3), Checkpointer(stop=stop))


def test_a_state_that_the_editor_cannot_read_is_set_aside(
    file: CheckpointFile, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KilledError):
        shift(cell(3), Mortal(file, 2))

    class Forgetful(Shift):
        def load_state_dict(self, state: Any) -> None:
            raise KeyError("weight")

    ran = run(Forgetful(tiny_llama()), cell(3), Checkpointer(file))
    assert results(ran) == results(shift(cell(3)))
    assert "KeyError: 'weight'" in capsys.readouterr().err
    assert [path.suffix for path in file.directory.iterdir()] == [".corrupt"]

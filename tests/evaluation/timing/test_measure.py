"""What is timed, how often, and in which state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep

import pytest

from bench.checks.contract.tiny import REQUESTS, tiny_llama
from bench.core.progress import StoppedEarly
from bench.evaluation.checkpointing import Checkpointer
from bench.evaluation.timing.measure import WARM_UP, Seconds, edit_seconds, inference_seconds
from editors.base import EditRequest
from editors.parts.tokens import TokenBatch
from tests.support.fake_editors import DoNothing
from tests.support.stopping_checkpointer import StoppingCheckpointer, checkpoint_file

QUERIES = 12


class Slow(DoNothing):
    """Takes 20 ms an edit, and 10 ms a query once it holds an edit."""

    def __init__(self) -> None:
        super().__init__(tiny_llama())
        self.edits: list[EditRequest] = []

    def edit(self, requests: Sequence[EditRequest]) -> None:
        self.edits += requests
        sleep(0.02)

    def reset(self) -> None:
        self.edits = []

    @contextmanager
    def steering(self, batch: TokenBatch) -> Iterator[None]:
        with super().steering(batch):
            sleep(0.01 if self.edits else 0)
            yield


def test_quartiles_by_hand() -> None:
    assert Seconds.of([4.0, 1.0, 2.0, 3.0, 5.0]) == Seconds(
        median=3.0, lower=2.0, upper=4.0, count=5
    )
    assert Seconds.of([7.0]) == Seconds(median=7.0, lower=7.0, upper=7.0, count=1)


def test_edits_are_applied_one_at_a_time_and_stay_without_the_warm_ups() -> None:
    editor = Slow()
    seconds = edit_seconds(editor, REQUESTS * 3)
    assert editor.edits == list(REQUESTS * 3)
    assert seconds.count == 3 * len(REQUESTS)
    assert 0.02 <= seconds.lower <= seconds.median <= seconds.upper
    with pytest.raises(ValueError, match="at least one edit"):
        edit_seconds(editor, [])


def test_timed_edits_of_an_earlier_run_are_not_applied_again(tmp_path: Path) -> None:
    file, requests = checkpoint_file(tmp_path), REQUESTS * 2
    with pytest.raises(StoppedEarly):
        edit_seconds(
            Slow(), requests, checkpointer=StoppingCheckpointer(file, 3), facts={"of": "these"}
        )
    checkpoint, editor = file.read(), Slow()
    assert checkpoint is not None
    assert checkpoint.progress["of"] == "these"
    seconds = edit_seconds(editor, requests, checkpointer=Checkpointer(file), checkpoint=checkpoint)
    assert editor.edits == list(requests[3:])
    assert seconds.count == len(requests)


def test_queries_are_steered_one_by_one() -> None:
    editor = Slow()
    editor.edit(REQUESTS)
    inference = inference_seconds(editor.lm, REQUESTS, editor, queries=QUERIES, new_tokens=3)
    assert inference.forward.count == inference.generation.count == QUERIES
    assert len(editor.batches) >= 2 * (QUERIES + WARM_UP)
    assert all(len(batch) == 1 for batch in editor.batches)
    assert inference.forward.lower >= 0.01
    assert inference.overhead > 1.0


def test_the_unedited_model_is_asked_without_an_editor() -> None:
    lm = tiny_llama()
    inference = inference_seconds(lm, REQUESTS, None, queries=QUERIES, new_tokens=3)
    assert inference.forward.count == QUERIES

"""The threshold in the sentinel's place, against scores worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from editors.parts.recipe.calibration import calibrated_threshold
from editors.parts.recipe.examples import Example, Row


class Network:
    """Ids are the vectors themselves."""

    def pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return ids.float()

    def knowledge(self, pooled: torch.Tensor) -> torch.Tensor:
        return pooled

    queries = knowledge


class Batcher:
    def pad(self, rows: list[list[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.tensor(rows, device=device)
        return ids, torch.ones_like(ids)


OBJECTIVE: Any = SimpleNamespace(
    network=Network(), batcher=Batcher(), lm=SimpleNamespace(device=torch.device("cpu"))
)


def row(*query: int) -> Row:
    return Row(query, [], [])


def test_the_threshold_lies_between_what_is_asked_of_edits_and_what_is_not() -> None:
    # Keys (1, 0) and (0, 1): a query scores its larger number.
    first = Example([1, 0], row(9, 1), ((row(5, 2),),), ((row(3, 1),),))
    second = Example([0, 1], row(1, 8), ((row(2, 6),),), ((row(1, 2),),))
    # Related scores 9, 5, 8, 6, all of their own edit; unrelated 3 and 2.
    assert calibrated_threshold(OBJECTIVE, {"made": [first, second]}) == pytest.approx(4)


def test_a_question_that_finds_another_edit_is_worth_nothing() -> None:
    first = Example([1, 0], row(9, 1), ((row(2, 4),),), ((row(5, 1),),))  # 4 is the other edit's
    second = Example([0, 1], row(1, 8), ((row(2, 6),),), ((row(1, 3),),))
    # Above 5: 9, 8, 6 of four are hits, no false one; below 5 half of the unrelated ones join.
    assert calibrated_threshold(OBJECTIVE, {"made": [first, second]}) == pytest.approx(5.5)


def test_data_sets_are_streams_of_their_own() -> None:
    near = Example([1, 0], row(4, 1), ((row(4, 1),),), ((row(0, 9),),))  # 0 to its only key
    far = Example([0, 1], row(1, 8), ((row(1, 8),),), ((row(9, 2),),))
    together = calibrated_threshold(OBJECTIVE, {"one": [near], "two": [far]})
    assert together == pytest.approx(3)  # between 2 and 4; in one stream 9 would be false hits

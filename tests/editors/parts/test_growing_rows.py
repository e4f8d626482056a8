from __future__ import annotations

import pytest
import torch

from editors.parts.growing_rows import GrowingRows


def test_rows_stay_as_they_are_while_the_tensor_grows() -> None:
    grown = GrowingRows()
    for number in range(200):
        grown.append(torch.tensor([number, -number]))
        assert len(grown) == number + 1
    assert grown.rows[:, 0].tolist() == list(range(200))
    grown.rows[3] = 7
    assert grown.rows[3].tolist() == [7, 7]


def test_no_row_has_no_shape() -> None:
    with pytest.raises(ValueError, match="No row was appended"):
        _ = GrowingRows().rows


def test_many_rows_at_once_stand_where_single_ones_would() -> None:
    rows, at_once, one_by_one = torch.rand(300, 3), GrowingRows(), GrowingRows()
    for start, end in ((0, 1), (1, 1), (1, 90), (90, 300)):
        at_once.extend(rows[start:end])
    for row in rows:
        one_by_one.append(row)
    assert torch.equal(at_once.rows, one_by_one.rows)
    assert torch.equal(at_once.rows, rows)

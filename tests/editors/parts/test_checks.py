from __future__ import annotations

from typing import Any, Literal

import pytest

from editors.parts.checks import check_above, check_at_least, check_choice
from editors.parts.language_model import block_number

Colour = Literal["red", "green"]


def test_a_choice_is_one_of_a_literal() -> None:
    check_choice("colour", "red", Colour)
    with pytest.raises(ValueError, match=r"colour 'gren'\. Did you mean 'green'\? .*: red, green"):
        check_choice("colour", "gren", Colour)
    with pytest.raises(ValueError, match="Unknown colour 3"):
        check_choice("colour", 3, Colour)


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), "1", True, None])
def test_what_is_no_large_enough_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="size must be a number of at least 1, got"):
        check_at_least("size", value, 1)
    with pytest.raises(ValueError, match="size must be a number above 0, got"):
        check_above("size", value if value is not True else "x", 0)


def test_numbers_on_the_right_side_pass() -> None:
    check_at_least("size", 1, 1)
    check_above("size", 0.5, 0)


def test_a_block_is_named_or_lies_at_a_depth() -> None:
    assert block_number(3, 0.0, 4) == 3
    assert [block_number(None, 5 / 32, n) for n in (4, 12, 32)] == [0, 1, 5]
    with pytest.raises(ValueError, match=r"Layer 4 .* blocks 0 to 3"):
        block_number(4, 0.0, 4)

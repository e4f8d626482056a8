from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch

from editors.parts.checks import (
    check_above,
    check_at_least,
    check_choice,
    check_count,
    check_list,
    check_text,
    typed,
)
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


@dataclass(frozen=True)
class Nested:
    rate: float


@pytest.mark.parametrize(
    ("hint", "value", "wanted"),
    [
        (tuple[tuple[int, int], ...], [[1, 2], [3, 4]], ((1, 2), (3, 4))),
        (Nested | None, {"rate": 1}, Nested(1.0)),
        (str, "False", "False"),
        (bool | str, "False", "False"),
        (Colour | None, "null", None),
        (float, 1 / 3 + 1e-17, 1 / 3 + 1e-17),
        (int, 2**70, 2**70),
    ],
)
def test_values_are_read_by_their_fields_type(hint: Any, value: Any, wanted: Any) -> None:
    assert repr(typed("size", value, hint)) == repr(wanted)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (tuple[tuple[int, int], ...], [[1, 2, 3]]),
        (Nested, {"rates": 1}),
        (Nested, {"rate": "fast"}),
        (str, 3),
        (Colour | None, "blue"),
        (int, torch.tensor(3)),
    ],
)
def test_values_of_another_type_are_refused(hint: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"size must be .*, got "):
        typed("size", value, hint)


def test_numbers_on_the_right_side_pass() -> None:
    check_at_least("size", 1, 1)
    check_above("size", 0.5, 0)


def test_a_block_is_named_or_lies_at_a_depth() -> None:
    assert block_number(3, 0.0, 4) == 3
    assert [block_number(None, 5 / 32, n) for n in (4, 12, 32)] == [0, 1, 5]
    with pytest.raises(ValueError, match=r"Layer 4 .* blocks 0 to 3"):
        block_number(4, 0.0, 4)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (1950, "has to be text, got 1950."),
        (None, "has to be text, got None."),
        (["a", "b"], "has to be text, got a list of 2."),
        ({"a": 1}, "has to be text, got a value of the type dict."),
        (b"a", "has to be text, got a value of the type bytes."),
        ("Lukt\ud800", "has to be Unicode text, got other bytes."),
        (" \n", "needs some text, got none."),
    ],
)
def test_what_is_no_text_is_named(value: Any, got: str) -> None:
    with pytest.raises(ValueError, match=f"^A question {got}$"):
        check_text("A question", value)
    assert check_text("A question", " é ") == " é "
    assert check_text("A question", "", empty=True) == ""


def test_a_list_is_no_text_and_no_mapping() -> None:
    assert check_list("names", ("a", "b"), str, "texts") == ["a", "b"]
    assert check_list("names", (name for name in "ab"), str, "texts") == ["a", "b"]
    for value, got in (("ab", "'ab'"), ({"a": 1}, "a value of the type dict"), (5, "5"),
                       (["a", 5], "one with 5")):  # fmt: skip
        with pytest.raises(ValueError, match=f"^names: expected a list of texts, got {got}[.]$"):
            check_list("names", value, str, "texts")


def test_numpys_whole_numbers_count() -> None:
    assert type(check_count("seed", np.int64(3), 0)) is int
    for value in (np.int64(-1), True, 1.0, "1", None, float("inf")):
        with pytest.raises(ValueError, match="seed: expected a whole number of at least 0, got"):
            check_count("seed", value, 0)

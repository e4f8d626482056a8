"""Checks of hyper-parameters, whose errors are sentences."""

from __future__ import annotations

import difflib
from typing import Any, get_args


def check_choice(name: str, value: Any, literal: Any) -> None:
    """Refuse a value that is none of a `Literal` type's.

    Raises:
        ValueError: with the nearest allowed value.
    """
    allowed = get_args(literal)
    if value in allowed:
        return
    near = difflib.get_close_matches(str(value), [str(a) for a in allowed], n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"Unknown {name} {value!r}.{hint} Available: {', '.join(str(a) for a in allowed)}."
    )


def check_at_least(name: str, value: Any, minimum: float) -> None:
    """Refuse what is no number, or a number below `minimum`.

    Raises:
        ValueError: with the name, the wish and the value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= minimum:
        raise ValueError(f"{name} must be a number of at least {minimum}, got {value!r}.")


def check_above(name: str, value: Any, bound: float) -> None:
    """Refuse what is no number, or a number not above `bound`.

    Raises:
        ValueError: with the name, the wish and the value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > bound:
        raise ValueError(f"{name} must be a number above {bound}, got {value!r}.")

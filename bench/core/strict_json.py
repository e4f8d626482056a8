"""JSON from files that anybody may have written: no NaN, no name twice, no surprise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NoReturn


def loads(text: str | bytes) -> Any:
    """The value of a JSON text in UTF-8.

    Raises:
        ValueError: no JSON, not UTF-8, NaN or an infinity, a name twice in one object, or a text
            that is nested too deeply.
    """
    plain = text.decode("utf-8") if isinstance(text, bytes) else text
    try:
        return json.loads(plain, parse_constant=_refuse, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("The JSON is nested too deeply.") from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"JSON has no number {name}.")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"The JSON has the name {twice!r} twice in one object.")
    return found

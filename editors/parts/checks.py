"""Checks of hyper-parameters, texts and names that become file names; errors are sentences."""

from __future__ import annotations

import difflib
import json
import math
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from numbers import Integral
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from pydantic import TypeAdapter

PROMPT, TARGET = "An edit's prompt", "An edit's new answer"  # in messages
NO_TEXT = "{} needs some text, got none."
_WORDS = {"true": True, "false": False, "none": None, "null": None}
_KINDS = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "null",
}  # fmt: skip


def typed(name: str, value: Any, hint: Any) -> Any:
    """The value of a field with this type, read as JSON has it: a list is a tuple where one is due.

    The words True, False and None are read as what they mean, unless the field takes text.

    Raises:
        ValueError: a value of another type.
    """
    from pydantic import ValidationError

    kinds = get_args(hint) or (hint,)
    if isinstance(value, str) and value.strip().casefold() in _WORDS and str not in kinds:
        word = _WORDS[value.strip().casefold()]
        value = word if type(word) in kinds else value
    if get_origin(hint) is Literal:
        check_choice(name, value, hint)
    try:
        return _adapter(hint).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError, ValueError) as error:
        raise ValueError(f"{name} must be {_in_words(hint)}, got {value!r}.") from error


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(hint)


def _in_words(hint: Any) -> str:
    """What values a type has, in words."""
    if hint in _KINDS:
        return _KINDS[hint]
    if get_origin(hint) is tuple:
        return f"a list, each of it {_in_words(get_args(hint)[0])}"
    return " or ".join(map(_in_words, get_args(hint))) or str(hint)


def check_text(what: str, value: Any, *, empty: bool = False) -> str:
    """The value, if it is Unicode text, with something to see in it unless it may be `empty`."""
    if not isinstance(value, str):
        raise ValueError(f"{what} has to be text, got {described(value)}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} has to be Unicode text, got other bytes.") from None
    if not empty and is_blank(value):
        raise ValueError(NO_TEXT.format(what))
    return value


def is_blank(text: str) -> bool:
    """Whether a text is empty or has nothing but white space, control and format characters."""
    return all(c.isspace() or unicodedata.category(c) in {"Cc", "Cf"} for c in text)


def check_list(what: str, values: Any, kind: Any, plural: str) -> list[Any]:
    """The members of an iterable that is no text and no mapping, if all are of one kind."""
    wanted = f"{what}: expected a list of {plural}, got"
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise ValueError(f"{wanted} {described(values)}.")
    members = list(values)
    for member in members:
        if not isinstance(member, kind):
            raise ValueError(f"{wanted} one with {described(member)}.")
    return members


def check_count(what: str, value: Any, least: int) -> int:
    """The value, if it is a whole number of at least `least`, NumPy's among them.

    Random generators take no more than 63 bits, and nothing can be counted so far.
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{what}: expected a whole number of at least {least}, got {value!r}.")
    if value >= 1 << 63:
        raise ValueError(f"{what}: expected a whole number below 2^63, got {value!r:.60}.")
    return int(value)


def check_flag(what: str, value: Any) -> None:
    """Refuse anything but True and False: a word would count as True, whatever it says."""
    if not isinstance(value, bool):
        raise ValueError(f"{what}: expected True or False, got {described(value)}.")


def described(value: Any) -> str:
    """A value in few words: its type, and itself where it is short."""
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}"
    if value is None or isinstance(value, str | int | float):
        return f"{value!r:.60}"
    return f"a value of the type {type(value).__name__}"


def check_finite(name: str, value: Any) -> None:
    """Refuse a value that is, or holds, a number without a finite value.

    Raises:
        ValueError: with the name and the value.
    """
    try:
        json.dumps(value, allow_nan=False, default=str)
    except ValueError as error:
        raise ValueError(f"{name} must be finite, got {value!r}.") from error


def check_choice(name: str, value: Any, literal: Any) -> None:
    """Refuse a value outside a `Literal` type.

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
    """Refuse anything but a number of at least `minimum`.

    Raises:
        ValueError: with the name, the bound and the value.
    """
    if not _is_number(value) or value < minimum:
        raise ValueError(f"{name} must be a number of at least {minimum}, got {value!r}.")


def check_above(name: str, value: Any, bound: float) -> None:
    """Refuse anything but a number above `bound`.

    Raises:
        ValueError: with the name, the bound and the value.
    """
    if not _is_number(value) or value <= bound:
        raise ValueError(f"{name} must be a number above {bound}, got {value!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)


def check_fields(hparams: Any, cls: type, *, other: Collection[str] = ()) -> None:
    """Refuse values outside the `Literal` types of a class, and counts below 1.

    Counts are the fields of the type `int`, but for those named in `other`.

    Raises:
        ValueError: for the first such value.
    """
    for name, hint in get_type_hints(cls).items():
        if get_origin(hint) is Literal:
            check_choice(name, vars(hparams)[name], hint)
        elif hint is int and name not in other:
            check_at_least(name, vars(hparams)[name], 1)


# Ours: room for prefix, suffix and temporary name within the 255 bytes of common file systems.
LONGEST = 160
_SEPARATORS = "/\\"


def check_file_name(kind: str, name: str) -> str:
    """The name, if it is one part of a path and nothing but a name.

    Raises:
        ValueError: empty, a dot or two, a separator, a control character, or too long.
    """
    reason = _reason(name)
    if reason is None:
        return name
    shown = name if len(name) <= 40 else f"{name[:40]}..."
    raise ValueError(
        f"The name of a {kind} becomes a file name: wanted at most {LONGEST} bytes without "
        f"separators or control characters, got {shown!r}, which {reason}."
    )


def _reason(name: str) -> str | None:
    if name.strip(" .") == "":
        return "names no file of its own"
    if any(character in name for character in _SEPARATORS):
        return "is a path"
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        return "holds control characters"
    size = len(name.encode())
    return f"has {size} bytes" if size > LONGEST else None

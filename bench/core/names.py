"""Names that a user types: matched without regard to case, and answered when unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping


def unknown_name(kind: str, name: str, available: Iterable[str]) -> ValueError:
    """The error for a name that is none of `available`, with the nearest one."""
    choices = sorted(available)
    near = difflib.get_close_matches(name.lower(), [c.lower() for c in choices], n=1, cutoff=0.5)
    hint = "".join(f" Did you mean {c!r}?" for c in choices if [c.lower()] == near)
    return ValueError(f"Unknown {kind} {name!r}.{hint} Available: {', '.join(choices)}.")


def resolve_name(kind: str, name: str, spellings: Mapping[str, Iterable[str]]) -> str:
    """The key whose spellings hold `name`, in any letter case; a key is its own spelling.

    Raises:
        ValueError: no key is spelt so; names the nearest key.
    """
    keys = {key.lower(): key for key in spellings}
    for key, others in spellings.items():
        keys |= {other.lower(): key for other in others}
    try:
        return keys[name.strip().lower()]
    except KeyError:
        raise unknown_name(kind, name, spellings) from None

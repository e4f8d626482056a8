"""What the words of a command line stand for: numbers, names, hyper-parameters.

The readers are for `type=` of argparse, and raise its error.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from typing import Any

from bench.core.names import unknown_name
from bench.evaluation.metric_sets import available
from editors import registry


def whole(least: int) -> Callable[[str], int]:
    """A reader of a whole number that is at least `least`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {least}, got {text!r}."
            )
        return value

    return read


def counts(least: int) -> Callable[[str], tuple[int, ...]]:
    """A reader of whole numbers separated by commas."""
    one = whole(least)
    return lambda text: tuple(one(part) for part in names(text))


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas, each once."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise argparse.ArgumentTypeError("expected names separated by commas, got none.")
    return found


def one_of(kind: str, choices: Iterable[str]) -> Callable[[str], str]:
    """A reader of one of a few names."""
    allowed = tuple(choices)

    def read(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(str(unknown_name(kind, text, allowed)))
        return text

    return read


def metric_sets(text: str) -> tuple[str, ...]:
    """Names of metric sets, in alphabetical order."""
    found = names(text)
    for name in found:
        if name not in available():
            raise argparse.ArgumentTypeError(str(unknown_name("metric set", name, available())))
    return tuple(sorted(found))


def assignment(text: str, form: str = "NAME=VALUE") -> tuple[str, Any]:
    """(name, value) of a `--hparam`; a value that is no JSON is taken as a string.

    Raises:
        ValueError: text of another form.
    """
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ValueError(f"--hparam takes {form}, got {text!r}.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def hparams_by_editor(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Hyper-parameters by editor key; those of a named preset come first."""
    form = "EDITOR.NAME=VALUE or EDITOR=PRESET"
    presets: dict[str, dict[str, Any]] = {}
    changes: dict[str, dict[str, Any]] = {}
    for text in texts:
        place, value = assignment(text, form)
        editor, dot, name = place.partition(".")
        if dot and not name:
            raise ValueError(f"--hparam takes {form}, got {text!r}.")
        key = registry.resolve(editor)
        if dot:
            changes.setdefault(key, {})[name] = value
        else:
            presets[key] = registry.preset_of(key, str(value)).to_dict()
    return {key: presets.get(key, {}) | changes.get(key, {}) for key in presets | changes}


def listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))

"""Editors by name. Names are read from the source, so that listing them imports nothing heavy.

An editor exists because a module of this package holds a class with a `label`; the file's name is
its key. Adding an editor is adding a file. Wherever a name is taken, so is the path of a Python
file with an editor of the user's own, and the name of one that an installed distribution brings.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import editors
from editors.own import guests
from editors.own.code import is_file_name
from editors.own.entries import EditorEntry, read_entry

if TYPE_CHECKING:
    from editors.base import Editor, Hparams, Resources
    from editors.parts.language_model import LanguageModel

_NOT_EDITORS = {"__init__", "base", "registry"}

CONTROL_SUFFIX = "-control"  # of a backbone that another is compared with


def shipped() -> tuple[str, ...]:
    """Keys of this package's editors, in alphabetical order."""
    return tuple(_entries())


def available() -> tuple[str, ...]:
    """Keys of all editors that can be made, those that are not in the paper's tables too.

    This package's come first, in alphabetical order, then those of the user.
    """
    return (*_entries(), *sorted(guests.guests(_taken())))


def broken() -> Mapping[str, str]:
    """What is wrong with installed editors that cannot be used, by name."""
    return guests.broken(_taken())


def source_of(name: str) -> str | None:
    """sha256 of the source of an editor of the user's own, None of one of this package.

    Raises:
        ValueError: no editor of that name, or one of which there are records alone.
    """
    key = resolve(name)
    return None if key in _entries() else _guest(key).digest()


def remember(entry: EditorEntry) -> None:
    """Know the name of an editor of the user's own that records are of."""
    guests.remember(entry)


def is_present(name: str) -> bool:
    """Whether an editor can be made here: not of one that is known from records alone.

    Raises:
        ValueError: no editor of that name.
    """
    key = resolve(name)
    return key in _entries() or key in guests.guests(_taken())


def describe(name: str) -> EditorEntry:
    """The entry of an editor, by key, label, alias or file.

    Raises:
        ValueError: no editor of that name.
        FileNotFoundError: no such file.
    """
    key = resolve(name)  # first: it may run a file
    return _known()[key]


def resolve(name: str) -> str:
    """The key of an editor, from its key, label or an alias in any case, or from its file.

    A file is run the first time, and when it has changed.

    Raises:
        ValueError: no editor of that name, and the nearest one is named; or a file with none.
        FileNotFoundError: no such file.
    """
    if is_file_name(name):
        return guests.admit(Path(name), _taken())
    names = {
        alias.casefold(): entry.key
        for entry in _known().values()
        for alias in (*entry.aliases, entry.label, entry.key)
    }
    if name.casefold() in names:
        return names[name.casefold()]
    if name in broken():
        raise ValueError(broken()[name])
    near = difflib.get_close_matches(name.casefold(), names, n=1)
    hint = f" Did you mean {names[near[0]]!r}?" if near else ""
    raise ValueError(f"Unknown editor {name!r}.{hint} Available: {', '.join(available())}.")


def editor_class(name: str) -> type[Editor[Any]]:
    """Import and return an editor's class.

    Raises:
        ValueError: no editor of that name, or one that cannot be imported.
    """
    entry = describe(name)
    if entry.key not in _entries():
        return _guest(entry.key).load()
    found: type[Editor[Any]] = vars(import_module(f"editors.{entry.key}"))[entry.class_name]
    return found


def hparams_for(name: str, backbone: str) -> Hparams:
    """An editor's preset for a backbone, else its preset `default`.

    A control backbone has the presets of the one it is compared with.

    Raises:
        ValueError: no such editor, or neither preset exists.
    """
    presets = editor_class(name).presets
    for key in (backbone.casefold().removesuffix(CONTROL_SUFFIX), "default"):
        if key in presets:
            return presets[key]
    raise ValueError(
        f"{describe(name).label} has no hyper-parameters for the backbone {backbone!r}. "
        f"Presets: {', '.join(sorted(presets))}."
    )


def preset_of(name: str, preset: str) -> Hparams:
    """An editor's preset by its own name.

    Raises:
        ValueError: no such editor or preset.
    """
    presets = editor_class(name).presets
    if preset not in presets:
        raise ValueError(
            f"{describe(name).label} has no preset {preset!r}. "
            f"Available: {', '.join(sorted(presets))}."
        )
    return presets[preset]


def get_editor(
    name: str,
    lm: LanguageModel,
    hparams: Hparams | None = None,
    resources: Resources | None = None,
    preset: str | None = None,
) -> Editor[Any]:
    """An editor of a model.

    Args:
        name: key, label or alias.
        hparams: hyper-parameters; without them those of `preset`.
        resources: what the editor needs beside the model; nothing by default.
        preset: a preset's name; by default that of the model.

    Raises:
        ValueError: unknown names, or hyper-parameters of another editor.
    """
    from editors.base import Resources

    cls = editor_class(name)
    chosen = hparams if hparams is not None else hparams_for(name, preset or lm.name)
    if not isinstance(chosen, cls.hparams_class):
        raise ValueError(
            f"{cls.label} takes {cls.hparams_class.__name__}, got {type(chosen).__name__}."
        )
    return cls(lm, chosen, resources if resources is not None else Resources())


@cache
def _entries() -> dict[str, EditorEntry]:
    entries = {}
    paths = [path for folder in editors.__path__ for path in Path(folder).glob("*.py")]
    for path in sorted(paths, key=lambda path: path.stem):
        if path.stem not in _NOT_EDITORS and (entry := read_entry(path)) is not None:
            entries[entry.key] = entry
    return entries


def _known() -> dict[str, EditorEntry]:
    """This package's editors and the user's, by key."""
    return {**guests.entries(_taken()), **_entries()}


def _guest(key: str) -> guests.Guest:
    found = guests.guests(_taken()).get(key)
    if found is None:
        raise ValueError(
            f"The editor {key!r} is known from records alone; name its file, as in "
            f"path/to/{key}.py, to run it."
        )
    return found


def _taken() -> frozenset[str]:
    return frozenset(name for entry in _entries().values() for name in guests.names_of(entry))

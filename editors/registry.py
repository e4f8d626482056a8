"""Editors by name. Names are read from the source, so that listing them imports nothing heavy.

An editor exists because a module of this package holds a class with a `label`; the file's name is
its key. Adding an editor is adding a file.
"""

from __future__ import annotations

import ast
import difflib
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import editors

if TYPE_CHECKING:
    from editors.base import Editor, Hparams, Resources
    from editors.parts.language_model import LanguageModel

_NOT_EDITORS = {"__init__", "base", "registry"}

CONTROL_SUFFIX = "-control"  # of a backbone that another is compared with


@dataclass(frozen=True)
class EditorEntry:
    """What can be known of an editor without importing it."""

    key: str  # file name
    label: str  # as the paper's tables print it
    aliases: tuple[str, ...]
    family: str  # MP, AP or RB
    class_name: str
    in_paper: bool  # False: not in the paper's tables, and shown only when asked for


def available() -> tuple[str, ...]:
    """Keys of all editors, in alphabetical order, those that are not in the paper's tables too."""
    return tuple(_entries())


def describe(name: str) -> EditorEntry:
    """The entry of an editor, by key, label or alias.

    Raises:
        ValueError: no editor of that name.
    """
    return _entries()[resolve(name)]


def resolve(name: str) -> str:
    """The key of an editor, from its key, label or an alias in any case.

    Raises:
        ValueError: no editor of that name; the nearest one is named.
    """
    names = {
        alias.casefold(): entry.key
        for entry in _entries().values()
        for alias in (*entry.aliases, entry.label, entry.key)
    }
    if name.casefold() in names:
        return names[name.casefold()]
    near = difflib.get_close_matches(name.casefold(), names, n=1)
    hint = f" Did you mean {names[near[0]]!r}?" if near else ""
    raise ValueError(f"Unknown editor {name!r}.{hint} Available: {', '.join(available())}.")


def editor_class(name: str) -> type[Editor[Any]]:
    """Import and return an editor's class.

    Raises:
        ValueError: no editor of that name.
    """
    entry = describe(name)
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
        if path.stem not in _NOT_EDITORS and (entry := _read_entry(path)) is not None:
            entries[entry.key] = entry
    return entries


def _read_entry(path: Path) -> EditorEntry | None:
    """The entry of a module with one labelled class, None of a module without."""
    found = [
        (node.name, values)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and "label" in (values := _constants(node))
    ]
    if not found:
        return None
    if len(found) > 1:
        raise ValueError(f"{path.name} holds {len(found)} editors; one per file is wanted.")
    class_name, values = found[0]
    aliases = tuple(values.get("aliases", ()))
    return EditorEntry(
        path.stem,
        values["label"],
        aliases,
        values["family"],
        class_name,
        values.get("in_paper", True),
    )


def _constants(node: ast.ClassDef) -> dict[str, Any]:
    """Literal values of a class's attributes that name an editor."""
    values = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        name = targets[0].id if isinstance(targets[0], ast.Name) else ""
        if name in {"label", "aliases", "family", "in_paper"}:
            values[name] = ast.literal_eval(value)
    return values

"""The editors that are not of this package, by key.

A file is run when it is named; an installed one is known from its source, and imported when it is
used. An editor of which there are records alone has a name and no class.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editors.own import code
from editors.own.code import OwnCodeError
from editors.own.entries import EditorEntry, read_entry

if TYPE_CHECKING:
    from editors.base import Editor

GROUP = "bench.editors"
KIND = "editor"
_FAMILIES = ("MP", "AP", "RB")
_NEEDS = ("label", "family", "hparams_class", "presets")
_SOUND: dict[str, Callable[[Any], bool]] = {  # whether an attribute is of its kind
    "label": lambda label: isinstance(label, str),
    "aliases": lambda names: isinstance(names, tuple) and all(isinstance(n, str) for n in names),
    "version": lambda version: isinstance(version, int),
    "hparams_class": inspect.isclass,
    "presets": lambda presets: isinstance(presets, Mapping),
}


@dataclass(frozen=True, kw_only=True)
class Guest:
    """An editor that can be made."""

    entry: EditorEntry
    path: Path | None  # of the named file; None for an installed one
    load: Callable[[], type[Editor[Any]]]
    digest: Callable[[], str]  # of its source


_named: dict[str, Guest] = {}
_remembered: dict[str, EditorEntry] = {}


def guests(taken: frozenset[str]) -> dict[str, Guest]:
    """All that can be made; `taken` are the names of the package's own editors, in lower case."""
    return {**_installed(taken)[0], **_named}


def entries(taken: frozenset[str]) -> dict[str, EditorEntry]:
    """All that have a name."""
    return {**_remembered, **{key: guest.entry for key, guest in guests(taken).items()}}


def named() -> tuple[Guest, ...]:
    """Those of files."""
    return tuple(_named.values())


def broken(taken: frozenset[str]) -> Mapping[str, str]:
    """What is wrong with installed editors, by the name of the entry point."""
    return _installed(taken)[1]


def remember(entry: EditorEntry) -> None:
    """Know the name of an editor that records are of."""
    _remembered[entry.key] = replace(entry, in_paper=False)


def admit(path: Path, taken: frozenset[str]) -> str:
    """Run a file with an editor, unless it is known as it is; the editor's key.

    Args:
        path: of the file.
        taken: names of the package's own editors, in lower case.

    Raises:
        FileNotFoundError: no such file.
        OwnCodeError: a file that holds no usable editor.
    """
    path = path.expanduser().absolute()
    known = _named.get(path.stem)
    if known is not None and path.is_file():
        if known.path != path:
            raise OwnCodeError(
                f"{path} and {known.path} both name the editor {path.stem!r}; rename one of them."
            )
        if known.digest() == code.digest_at(path):
            return path.stem
    file = code.run_file(path, kind=KIND)
    cls = _checked(_class_in(file.module, path.name), path.name)
    entry = _entry_of(path.stem, cls)
    others = [guest.entry for key, guest in guests(taken).items() if key != entry.key]
    _check_free(entry, {*taken, *(name for one in others for name in names_of(one))}, path.name)
    _named[entry.key] = Guest(entry=entry, path=path, load=lambda: cls, digest=lambda: file.digest)
    return entry.key


def names_of(entry: EditorEntry) -> set[str]:
    """What an editor is called by, in lower case."""
    return {name.casefold() for name in (entry.key, entry.label, *entry.aliases)}


@cache
def _installed(taken: frozenset[str]) -> tuple[dict[str, Guest], dict[str, str]]:
    """(editors, what is wrong with others) of the entry points; none of them is imported."""
    found: dict[str, Guest] = {}
    wrong: dict[str, str] = {}
    for name, one in code.entry_points(GROUP).items():
        try:
            guest = _guest_of(one)
            _check_free(guest.entry, taken, code.described(one))
            found[name] = guest
        except OwnCodeError as error:
            wrong[name] = str(error)
    return found, wrong


def _guest_of(one: metadata.EntryPoint) -> Guest:
    place = code.described(one)
    if not one.name.isidentifier():
        raise OwnCodeError(f"{place} gives its editor no name of letters, digits and underscores.")
    return Guest(
        entry=_entry_at(one),
        path=None,
        load=cache(lambda: _class_of(one)),
        digest=cache(lambda: code.digest_of(one)),
    )


def _entry_at(one: metadata.EntryPoint) -> EditorEntry:
    """The entry as the source says it; of a source that does not, by importing it."""
    path = code.file_of(one)
    try:
        read = read_entry(path)
    except (ValueError, SyntaxError, OSError):
        read = None
    if read is None or one.attr not in {"", read.class_name}:
        return _entry_of(one.name, _class_of(one))
    return replace(read, key=one.name, in_paper=False)


def _class_of(one: metadata.EntryPoint) -> type[Editor[Any]]:
    from editors.base import Editor

    found, place = code.loaded(one), code.described(one)
    if not one.attr:
        found = _class_in(found, place)
    if not (isinstance(found, type) and issubclass(found, Editor)):
        raise OwnCodeError(f"{place} is no class that derives from editors.base.Editor.")
    return _checked(found, place)


def _class_in(module: Any, place: str) -> type[Editor[Any]]:
    from editors.base import Editor

    return code.one_class(module, Editor, place=place, kind=KIND)  # type: ignore[type-abstract]


def _checked(cls: type[Editor[Any]], place: str) -> type[Editor[Any]]:
    """The class, if it says what it is."""
    lacking = [name for name in _NEEDS if not hasattr(cls, name)]
    if lacking:
        raise OwnCodeError(f"{cls.__name__} of {place} lacks {', '.join(lacking)}.")
    others = [name for name, sound in _SOUND.items() if not sound(getattr(cls, name))]
    if others:
        raise OwnCodeError(
            f"{cls.__name__} of {place} has a {others[0]} of another kind: "
            f"{getattr(cls, others[0])!r}."
        )
    if cls.family not in _FAMILIES:
        raise OwnCodeError(
            f"{cls.__name__} of {place} is of family {cls.family!r}; wanted {', '.join(_FAMILIES)}."
        )
    if not cls.presets or not all(
        isinstance(one, cls.hparams_class) for one in cls.presets.values()
    ):
        raise OwnCodeError(
            f"{cls.__name__} of {place} has no presets of {cls.hparams_class.__name__}."
        )
    return cls


def _entry_of(key: str, cls: type[Editor[Any]]) -> EditorEntry:
    return EditorEntry(key, cls.label, tuple(cls.aliases), cls.family, cls.__name__, in_paper=False)


def _check_free(entry: EditorEntry, taken: Collection[str], place: str) -> None:
    clashing = sorted(names_of(entry) & set(taken))
    if clashing:
        raise OwnCodeError(
            f"{place} calls its editor {clashing[0]!r}, as another editor is called; give it "
            "another name, label or alias."
        )

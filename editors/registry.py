"""Editors by name: this package's, a user's own files, and those of installed distributions.

An editor exists because a module of this package holds a class with a `label`; the file's name is
its key. Adding an editor is adding a file. Facts of an editor are literal attributes of its class
and are read from the source, so that listing editors imports nothing heavy. Wherever a name is
taken, so is the path of a Python file with an editor, and the name of an entry point of the group
`bench.editors`.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import editors
from editors import plugins
from editors.plugins import OwnCodeError

if TYPE_CHECKING:
    from editors.base import Editor, Hparams, Resources
    from editors.parts.language_model import LanguageModel

# `original`: the presets as they are, which follow each method's own code. `paper`: as the paper of
# the benchmark states its settings, which is EasyEdit's code for most.
Bundle = Literal["original", "paper"]

CONTROL_SUFFIX = "-control"  # of a backbone that another is compared with
GROUP = "bench.editors"  # of entry points

_NOT_EDITORS = {"__init__", "base", "plugins", "registry"}
_FAMILIES = ("MP", "AP", "RB")


@dataclass(frozen=True, kw_only=True)
class EditorEntry:
    """Facts of an editor: literal attributes of its class; see `editors.base.Editor`."""

    key: str  # file name
    class_name: str
    label: str
    family: str
    aliases: tuple[str, ...] = ()
    in_paper: bool = True
    table_row: int | None = None
    mark: tuple[str, str] | None = None

    @property
    def names(self) -> set[str]:
        """All names of the editor, in lower case."""
        return {name.casefold() for name in (self.key, self.label, *self.aliases)}


@dataclass(frozen=True, kw_only=True)
class OwnEditor:
    """A user's own editor whose code is there."""

    entry: EditorEntry
    path: Path | None  # of the named file; None for an installed one
    load: Callable[[], type[Editor[Any]]]
    digest: Callable[[], str]  # of its source


_named: dict[str, OwnEditor] = {}  # of files
_remembered: dict[str, EditorEntry] = {}  # of records


# ---- names -----------------------------------------------------------------------------------


def shipped() -> tuple[str, ...]:
    """Keys of this package's editors, in alphabetical order."""
    return tuple(_entries())


def available() -> tuple[str, ...]:
    """Keys of all editors that can be used, those outside the paper's tables too.

    This package's come first, in alphabetical order, then the user's own.
    """
    return (*_entries(), *sorted(_own()))


def broken() -> Mapping[str, str]:
    """What is wrong with installed editors that cannot be used, by name."""
    return _installed()[1]


def resolve(name: str) -> str:
    """The key of an editor, from its key, label or an alias in any case, or from its file.

    A file is run the first time, and when it has changed.

    Raises:
        ValueError: no editor of that name, and the nearest one is named; or a file with none.
        FileNotFoundError: no such file.
    """
    if name in _entries():
        return name
    if name.endswith(".py"):
        return _run(Path(name))
    keys = {alias: entry.key for entry in _known().values() for alias in entry.names}
    if name.casefold() in keys:
        return keys[name.casefold()]
    if name in broken():
        raise ValueError(broken()[name])
    near = difflib.get_close_matches(name.casefold(), keys, n=1)
    hint = f" Did you mean {keys[near[0]]!r}?" if near else ""
    raise ValueError(f"Unknown editor {name!r}.{hint} Available: {', '.join(available())}.")


def describe(name: str) -> EditorEntry:
    """The facts of an editor, by key, label, alias or file; errors as of `resolve`."""
    key = resolve(name)  # first: it may run a file
    return _known()[key]


def is_present(name: str) -> bool:
    """Whether an editor can be used here, and is not known from records alone.

    Raises:
        ValueError: no editor of that name.
    """
    return resolve(name) in available()


def source_of(name: str) -> str | None:
    """sha256 of the source of a user's own editor, None of this package's.

    Raises:
        ValueError: no editor of that name, or one that is known from records alone.
    """
    key = resolve(name)
    return None if key in _entries() else _own_editor(key).digest()


def named_files() -> tuple[OwnEditor, ...]:
    """The editors of files that this process has run."""
    return tuple(_named.values())


def remember(entry: EditorEntry) -> None:
    """Add the name of a user's own editor that records are of."""
    _remembered[entry.key] = replace(entry, in_paper=False)


# ---- classes and hyper-parameters ------------------------------------------------------------


def editor_class(name: str) -> type[Editor[Any]]:
    """Import and return an editor's class.

    Raises:
        ValueError: no editor of that name, or one that cannot be imported.
    """
    entry = describe(name)
    if entry.key not in _entries():
        return _own_editor(entry.key).load()
    cls: type[Editor[Any]] = vars(import_module(f"editors.{entry.key}"))[entry.class_name]
    return cls


def hparams_for(name: str, backbone: str, bundle: Bundle = "original") -> Hparams:
    """An editor's preset for a backbone, else its preset `default`, as a bundle has it.

    A control backbone has the presets of the one it is compared with.

    Raises:
        ValueError: no such editor, or neither preset exists.
    """
    cls, own = editor_class(name), backbone.casefold().removesuffix(CONTROL_SUFFIX)
    presets = cls.presets
    for key in (own, "default"):
        if key in presets:
            if bundle == "original":
                return presets[key]
            changes = {**cls.as_in_paper.get("", {}), **cls.as_in_paper.get(own, {})}
            return cls.hparams_class.from_dict(presets[key].to_dict() | changes)
    raise ValueError(
        f"{describe(name).label} has no hyper-parameters for the backbone {backbone!r}. "
        f"Presets: {', '.join(sorted(presets))}."
    )


def compared_preset(name: str, backbone: str, hparams: Mapping[str, Any]) -> Hparams:
    """The preset that hyper-parameters (plain JSON values) of a record are compared with.

    A local copy has the preset of the model that it is a copy of, which its name does not say: of
    a backbone without a preset of its own, it is the preset with the fewest differences.

    Raises:
        ValueError: as `hparams_for`.
    """
    presets, usual = editor_class(name).presets, hparams_for(name, backbone)
    if backbone.casefold().removesuffix(CONTROL_SUFFIX) in presets:
        return usual

    def differences(preset: Hparams) -> int:
        values = json.loads(json.dumps(preset.to_dict()))
        return sum(values.get(field) != value for field, value in hparams.items())

    return min((usual, *presets.values()), key=differences)


# How long a training was says nothing of its bundle.
_COUNTS = {"iterations", "checkpoint_interval", "patience", "epochs", "micro_batch"}


def bundle_fields(name: str) -> frozenset[str]:
    """The hyper-parameters by which an editor's bundles differ, but for counts of steps."""
    changes = editor_class(name).as_in_paper.values()
    return frozenset(field for each in changes for field in each) - _COUNTS


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


# ---- facts from the source -------------------------------------------------------------------


def read_entry(path: Path) -> EditorEntry | None:
    """The entry of a module with one labelled class, None of a module without.

    Raises:
        ValueError: it has several, or a class that does not name its family.
    """
    labelled = [
        (node.name, facts)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and "label" in (facts := _facts(node))
    ]
    if not labelled:
        return None
    if len(labelled) > 1:
        raise ValueError(f"{path.name} holds {len(labelled)} editors; one per file is wanted.")
    class_name, facts = labelled[0]
    if "family" not in facts:
        raise ValueError(f"{class_name} in {path.name} does not name its family.")
    return EditorEntry(key=path.stem, class_name=class_name, **facts)


def _facts(node: ast.ClassDef) -> dict[str, Any]:
    """Literal values of those attributes of a class that an entry has."""
    wanted = {field.name for field in fields(EditorEntry)} - {"key", "class_name"}
    values = {}
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if isinstance(target, ast.Name) and target.id in wanted:
            values[target.id] = ast.literal_eval(value)
    return values


@cache
def _entries() -> dict[str, EditorEntry]:
    """This package's editors, by key."""
    paths = [path for folder in editors.__path__ for path in Path(folder).glob("*.py")]
    entries = map(read_entry, (path for path in paths if path.stem not in _NOT_EDITORS))
    return {e.key: e for e in sorted(filter(None, entries), key=lambda entry: entry.key)}


def _known() -> dict[str, EditorEntry]:
    """All editors with a name, those of records alone too."""
    return {**_remembered, **{key: own.entry for key, own in _own().items()}, **_entries()}


# ---- users' own editors ----------------------------------------------------------------------


def _own() -> dict[str, OwnEditor]:
    return {**_installed()[0], **_named}


def _own_editor(key: str) -> OwnEditor:
    if key not in _own():
        raise ValueError(
            f"The editor {key!r} is known from records alone; name its file, as in "
            f"path/to/{key}.py, to run it."
        )
    return _own()[key]


def _run(path: Path) -> str:
    """Run a file with an editor, unless it was run as it is; the editor's key."""
    from editors.base import Editor

    path = path.expanduser().absolute()
    known = _named.get(path.stem)
    if known is not None and path.is_file():
        if known.path != path:
            raise OwnCodeError(
                f"{path} and {known.path} both name the editor {path.stem!r}; rename one of them."
            )
        if known.digest() == plugins.digest_at(path):
            return path.stem
    file = plugins.run_file(path, kind="editor")
    cls = plugins.only_class(file.module, Editor, place=path.name, kind="editor")  # type: ignore[type-abstract]
    entry = _entry_of(path.stem, _checked(cls, path.name))
    _check_free(entry, [own.entry for own in _own().values()], path.name)
    _named[entry.key] = OwnEditor(
        entry=entry, path=path, load=lambda: cls, digest=lambda: file.digest
    )
    return entry.key


@cache
def _installed() -> tuple[dict[str, OwnEditor], dict[str, str]]:
    """(editors, what is wrong with others) of the entry points; none of them is imported."""
    usable: dict[str, OwnEditor] = {}
    wrong: dict[str, str] = {}
    points = {point.name: point for point in reversed(metadata.entry_points(group=GROUP))}
    for name, point in points.items():  # the first of equal names
        try:
            usable[name] = _installed_editor(point)
        except OwnCodeError as error:
            wrong[name] = str(error)
    return usable, wrong


def _installed_editor(point: metadata.EntryPoint) -> OwnEditor:
    from editors.base import Editor

    place = plugins.described(point)
    if not point.name.isidentifier():
        raise OwnCodeError(f"{place} gives its editor no name of letters, digits and underscores.")

    @cache
    def load() -> type[Editor[Any]]:
        cls = plugins.class_at(point, Editor, kind="editor")  # type: ignore[type-abstract]
        return _checked(cls, place)

    entry = _entry_in_source(point) or _entry_of(point.name, load())
    _check_free(entry, [], place)
    return OwnEditor(
        entry=entry, path=None, load=load, digest=cache(lambda: plugins.digest_of(point))
    )


def _entry_in_source(point: metadata.EntryPoint) -> EditorEntry | None:
    """The entry, where the source of an entry point's module states it."""
    path = plugins.file_of(point)
    try:
        entry = read_entry(path)
    except (ValueError, SyntaxError, OSError):
        return None
    if entry is None or point.attr not in {"", entry.class_name}:
        return None
    # Rows of a user's own editors stand below the others.
    return replace(entry, key=point.name, in_paper=False, table_row=None, mark=None)


def _entry_of(key: str, cls: type[Editor[Any]]) -> EditorEntry:
    return EditorEntry(
        key=key,
        class_name=cls.__name__,
        label=cls.label,
        family=cls.family,
        aliases=tuple(cls.aliases),
        in_paper=False,
    )


def _checked(cls: type[Editor[Any]], place: str) -> type[Editor[Any]]:
    """The class, if its attributes are there and of the right kind."""
    name = f"{cls.__name__} of {place}"
    lacking = [n for n in ("label", "family", "hparams_class", "presets") if not hasattr(cls, n)]
    if lacking:
        raise OwnCodeError(f"{name} lacks {', '.join(lacking)}.")
    sound = {
        "label": isinstance(cls.label, str),
        "aliases": _are_names(cls.aliases),
        "version": isinstance(cls.version, int),
        "hparams_class": inspect.isclass(cls.hparams_class),
        "presets": isinstance(cls.presets, Mapping),
    }
    if wrong := [attribute for attribute, right in sound.items() if not right]:
        value = getattr(cls, wrong[0])
        raise OwnCodeError(f"{name} has a {wrong[0]} of another kind: {value!r}.")
    if cls.family not in _FAMILIES:
        raise OwnCodeError(f"{name} is of family {cls.family!r}; wanted {', '.join(_FAMILIES)}.")
    presets = cls.presets.values()
    if not presets or not all(isinstance(preset, cls.hparams_class) for preset in presets):
        raise OwnCodeError(f"{name} has no presets of {cls.hparams_class.__name__}.")
    return cls


def _are_names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)


def _check_free(entry: EditorEntry, others: list[EditorEntry], place: str) -> None:
    """Refuse an entry with a name of this package's editors or of another own one."""
    taken = [*_entries().values(), *(other for other in others if other.key != entry.key)]
    names = {name for other in taken for name in other.names}
    plugins.check_free(entry.names, names, place=place, kind="editor")

"""Edit data sets by name: one module per set, and users' own files and installed distributions.

As with editors (`editors.registry`), an own file is run when it is named; worker processes run it
again, and find installed code by themselves. Its data are beside it, or in `--data-dir`. A cell
that runs own code has a digest of the source among its inputs, so that changed code is another
cell.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal

from bench.core.names import DATASETS, position, resolve_name
from bench.datasets.base import SPLITS, EditDataset, LoadedSamples, PublishedFile, Split
from bench.datasets.facts import ENDINGS, Facts
from bench.datasets.rows import Row
from editors import plugins as own_code
from editors import registry
from editors.base import EditSample
from editors.plugins import OwnCodeError, ReadFile
from editors.registry import EditorEntry

__all__ = [
    "SPLITS",
    "EditDataset",
    "LoadedSamples",
    "Split",
    "available",
    "broken",
    "dataset_keys",
    "get_dataset",
    "is_own",
    "is_present",
    "named_files",
    "remember",
    "run_files",
    "source_digests",
]

EDITOR_SOURCE, DATASET_SOURCE = "source", "dataset_source"  # names of a cell's inputs
GROUP = "bench.datasets"  # of entry points
KIND = "data set"
_NEEDS = ("key", "label", "files")

_named: dict[str, tuple[ReadFile, EditDataset]] = {}  # of files
_remembered: dict[str, EditDataset] = {}  # of records


def available() -> tuple[str, ...]:
    """Keys of all data sets that can be loaded: this package's, sorted, then the user's."""
    return (*_shipped(), *sorted(key for key, own in _own().items() if _is_loadable(own)))


def broken() -> Mapping[str, str]:
    """Error sentences of installed data sets that cannot be used, by name."""
    return _installed()[1]


def is_present(name: str) -> bool:
    """Whether a data set can be loaded here, not only shown from its records."""
    return _is_loadable(get_dataset(name))


def get_dataset(name: str) -> EditDataset:
    """The data set of a key, label or alias, in any letter case, or of a Python file.

    A file is run the first time, and when it has changed.

    Raises:
        ValueError: no such data set (the nearest name is suggested), or a file without one.
        FileNotFoundError: no such file.
    """
    shipped = _shipped()
    if name in shipped:
        return shipped[name]
    if name.endswith((".py", *ENDINGS)):
        name = _run(Path(name))
    datasets = {**_own(), **shipped}
    if name not in datasets and name in broken():
        raise ValueError(broken()[name])
    spellings = {key: (d.label, *d.aliases) for key, d in datasets.items()}
    return datasets[resolve_name("data set", name, spellings)]


def dataset_keys(names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Keys of the named data sets (the paper's three by default), in column order, each once."""
    keys = {get_dataset(name).key for name in names or DATASETS}
    return tuple(sorted(keys, key=lambda key: (position(DATASETS, key), key)))


def source_digests(editor: str, dataset: str) -> dict[str, str]:
    """Digests of the user's own code that a cell runs; empty if both are of this package."""
    digests = {
        EDITOR_SOURCE: registry.source_of(editor),
        DATASET_SOURCE: get_dataset(dataset).source_digest,
    }
    return {name: digest for name, digest in digests.items() if digest is not None}


class RecordedDataset(EditDataset):
    """A data set of which only records are present: it has a name and nothing to load."""

    licence = citation = ""
    files: ClassVar[Mapping[Split, PublishedFile]] = {}

    def __init__(self, key: str) -> None:
        self.key = self.label = self.title = key  # type: ignore[misc]

    def directory(self, split: Split, given: Path) -> Path:
        raise self._refusal()

    def read(self, row: Row, sample_id: str) -> EditSample:
        raise self._refusal()

    def _refusal(self) -> ValueError:
        return ValueError(
            f"The data set {self.key!r} is known from records alone; name its file to load it."
        )


def _is_loadable(dataset: EditDataset) -> bool:
    return not isinstance(dataset, RecordedDataset)


@cache
def _shipped() -> dict[str, EditDataset]:
    """One instance of each concrete data set that a module of this package defines."""
    datasets = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for _, cls in inspect.getmembers(module, inspect.isclass):
            if not issubclass(cls, EditDataset) or inspect.isabstract(cls):
                continue
            if cls.__module__ == module.__name__ and cls is not Facts:
                datasets[cls.key] = cls()
    return dict(sorted(datasets.items()))


# ---- users' own data sets --------------------------------------------------------------------


def _own() -> dict[str, EditDataset]:
    named = {key: dataset for key, (_, dataset) in _named.items()}
    return {**_remembered, **_installed()[0], **named}


def _run(path: Path) -> str:
    """Run a file with a data set, unless it was run as it is; the data set's key.

    A file of facts is read instead.
    """
    path = path.expanduser().absolute()
    for key, (known, _) in _named.items():
        if known.path == path and path.is_file() and known.digest == own_code.digest_at(path):
            return key
    file, dataset = _facts(path) if path.suffix in ENDINGS else _code(path)
    others = [own for own in _own().values() if _is_loadable(own)]
    others = [own for own in others if (own.home, own.key) != (dataset.home, dataset.key)]
    _check_free(dataset, others, path.name)
    _named[dataset.key] = file, dataset
    return dataset.key


def _code(path: Path) -> tuple[ReadFile, EditDataset]:
    file = own_code.run_file(path, kind=KIND)
    cls = own_code.only_class(file.module, EditDataset, place=path.name, kind=KIND)  # type: ignore[type-abstract]
    return file, _instance(cls, path.name, home=path.parent, source=file.digest)


def _facts(path: Path) -> tuple[ReadFile, EditDataset]:
    if not path.is_file():
        raise FileNotFoundError(f"No {KIND} at {path}: there is no such file.")
    file = ReadFile(path=path, digest=own_code.digest_at(path), module=ModuleType(path.stem))
    return file, Facts(path, file.digest)


@cache
def _installed() -> tuple[dict[str, EditDataset], dict[str, str]]:
    """(data sets, error sentences of the unusable ones) of the entry points, imported."""
    usable: dict[str, EditDataset] = {}
    wrong: dict[str, str] = {}
    points = {point.name: point for point in reversed(metadata.entry_points(group=GROUP))}
    for name, point in points.items():  # the first of equal names
        place = own_code.described(point)
        try:
            cls = own_code.class_at(point, EditDataset, kind=KIND)  # type: ignore[type-abstract]
            home, source = own_code.file_of(point).parent, own_code.digest_of(point)
            dataset = _instance(cls, place, home=home, source=source)
            _check_free(dataset, [], place)
            usable[dataset.key] = dataset
        except OwnCodeError as error:
            wrong[name] = str(error)
    return usable, wrong


def _instance(cls: type[EditDataset], place: str, *, home: Path, source: str) -> EditDataset:
    lacking = [name for name in _NEEDS if not hasattr(cls, name)]
    if lacking:
        raise OwnCodeError(f"{cls.__name__} of {place} lacks {', '.join(lacking)}.")
    names = (cls.key, cls.label, *cls.aliases)
    if not all(isinstance(name, str) for name in names):
        raise OwnCodeError(f"{cls.__name__} of {place} has a name that is no text, in {names!r}.")
    if "test" not in cls.files:
        raise OwnCodeError(f"{cls.__name__} of {place} names no file of its test split.")
    dataset = cls()
    dataset.home, dataset.source_digest = home, source
    return dataset


def _check_free(dataset: EditDataset, others: Iterable[EditDataset], place: str) -> None:
    taken = {name for other in (*_shipped().values(), *others) for name in other.names}
    own_code.check_free(dataset.names, taken, place=place, kind=KIND)


# ---- own editors and data sets in worker processes and in records ------------------------------


@dataclass(frozen=True, kw_only=True)
class OwnFile:
    """A file that a user named, as it was when it was run."""

    kind: Literal["editor", "dataset"]
    path: Path
    digest: str


def named_files() -> tuple[OwnFile, ...]:
    """The user's files that this process has run."""
    editors = [
        OwnFile(kind="editor", path=own.path, digest=own.digest())
        for own in registry.named_files()
        if own.path is not None
    ]
    files = (file for file, _ in _named.values())
    return (*editors, *(OwnFile(kind="dataset", path=f.path, digest=f.digest) for f in files))


def run_files(files: Iterable[OwnFile]) -> None:
    """Run files in this process unless it has run them; ValueError if one has changed."""
    for file in files:
        name = str(file.path)
        if file.kind == "editor":
            digest = registry.source_of(name)
        else:
            digest = get_dataset(name).source_digest
        if digest != file.digest:
            raise ValueError(f"{file.path} has changed since the run was planned.")


def is_own(record: Mapping[str, Any]) -> bool:
    """Whether the editor of a record is a user's own."""
    return EDITOR_SOURCE in _stream(record).get("inputs", {})


def remember(records: Iterable[Mapping[str, Any]]) -> None:
    """Add the names of own editors and data sets that are known from these records alone."""
    for record in records:
        stream = _stream(record)
        inputs = stream.get("inputs", {})
        editor, dataset = stream.get("editor", ""), stream.get("dataset", "")  # absent if unedited
        if EDITOR_SOURCE in inputs and editor not in registry.available():
            facts = record["editor"]
            registry.remember(
                EditorEntry(key=editor, class_name="", label=facts["label"], family=facts["family"])
            )
        if DATASET_SOURCE in inputs and dataset not in available():
            _remembered[dataset] = RecordedDataset(dataset)


def _stream(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What names the editor: the cell itself, or the edits of a general-ability cell."""
    cell: Mapping[str, Any] = record["cell"]
    return cell.get("edits") or cell

"""Data sets that are not of this package: named files, installed ones, and those of records alone.

As with editors (`editors.plugins`), a file is run when it is named. Its data lie beside it, or
where `--data-dir` points.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import ClassVar

from bench.datasets.base import EditDataset, Split
from bench.datasets.files import PublishedFile
from bench.datasets.rows import Row
from editors import plugins
from editors.base import EditSample
from editors.plugins import OwnCodeError, ReadFile

GROUP = "bench.datasets"
KIND = "data set"
_NEEDS = ("key", "label", "files")

_named: dict[str, tuple[ReadFile, EditDataset]] = {}
_remembered: dict[str, EditDataset] = {}


class RecordedDataset(EditDataset):
    """A data set that is known from records alone: it has a name."""

    licence = citation = ""
    files: ClassVar[Mapping[Split, PublishedFile]] = {}

    def __init__(self, key: str) -> None:
        self.key = self.label = self.title = key  # type: ignore[misc]

    def directory(self, split: Split, given: Path) -> Path:
        """Refuse; see the base class."""
        raise self._refusal()

    def read(self, row: Row, sample_id: str) -> EditSample:
        """Refuse; see the base class."""
        raise self._refusal()

    def _refusal(self) -> ValueError:
        return ValueError(
            f"The data set {self.key!r} is known from records alone; name its file to load it."
        )


def datasets(taken: frozenset[str]) -> dict[str, EditDataset]:
    """All that have a name, by key; `taken` are the package's own names, in lower case."""
    named = {key: dataset for key, (_, dataset) in _named.items()}
    return {**_remembered, **_installed(taken)[0], **named}


def named() -> tuple[ReadFile, ...]:
    """The files that were named."""
    return tuple(file for file, _ in _named.values())


def broken(taken: frozenset[str]) -> Mapping[str, str]:
    """What is wrong with installed data sets, by the name of the entry point."""
    return _installed(taken)[1]


def remember(key: str) -> None:
    """Know the name of a data set that records are of."""
    _remembered[key] = RecordedDataset(key)


def admit(path: Path, taken: frozenset[str]) -> str:
    """Run a file with a data set, unless it is known as it is; the data set's key.

    Raises:
        FileNotFoundError: no such file.
        OwnCodeError: a file that holds no usable data set.
    """
    path = path.expanduser().absolute()
    for key, (known, _) in _named.items():
        if known.path == path and path.is_file() and known.digest == plugins.digest_at(path):
            return key
    file = plugins.run_file(path, kind=KIND)
    cls = plugins.only_class(file.module, EditDataset, place=path.name, kind=KIND)  # type: ignore[type-abstract]
    made = _made(cls, path.name, home=path.parent, source=file.digest)
    present = {k: d for k, d in datasets(taken).items() if not isinstance(d, RecordedDataset)}
    others = [d for d in present.values() if d.home != made.home or d.key != made.key]
    names = {*taken, *(name for dataset in others for name in names_of(dataset))}
    plugins.check_free(names_of(made), names, place=path.name, kind=KIND)
    _named[made.key] = file, made
    return made.key


def names_of(dataset: EditDataset) -> set[str]:
    """What a data set is called by, in lower case."""
    return {name.lower() for name in (dataset.key, dataset.label, *dataset.aliases)}


@cache
def _installed(taken: frozenset[str]) -> tuple[dict[str, EditDataset], dict[str, str]]:
    """(data sets, what is wrong with others) of the entry points, imported."""
    found: dict[str, EditDataset] = {}
    wrong: dict[str, str] = {}
    for name, one in plugins.entry_points(GROUP).items():
        try:
            made = _installed_one(one)
            plugins.check_free(names_of(made), {*taken}, place=plugins.described(one), kind=KIND)
            found[made.key] = made
        except OwnCodeError as error:
            wrong[name] = str(error)
    return found, wrong


def _installed_one(point: metadata.EntryPoint) -> EditDataset:
    cls = plugins.class_at(point, EditDataset, kind=KIND)  # type: ignore[type-abstract]
    home, source = plugins.file_of(point).parent, plugins.digest_of(point)
    return _made(cls, plugins.described(point), home=home, source=source)


def _made(cls: type[EditDataset], place: str, *, home: Path, source: str) -> EditDataset:
    lacking = [name for name in _NEEDS if not hasattr(cls, name)]
    if lacking:
        raise OwnCodeError(f"{cls.__name__} of {place} lacks {', '.join(lacking)}.")
    names = (cls.key, cls.label, *cls.aliases)
    if not all(isinstance(name, str) for name in names):
        raise OwnCodeError(f"{cls.__name__} of {place} has a name that is no text, in {names!r}.")
    if "test" not in cls.files:
        raise OwnCodeError(f"{cls.__name__} of {place} names no file of its test split.")
    made = cls()
    made.home, made.source_digest = home, source
    return made

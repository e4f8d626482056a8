"""Edit data sets, found by name: one module per set, for real and embedded files alike."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeGuard

from bench.core.names import DATASETS, position, resolve_name
from bench.datasets import own
from bench.datasets.base import SPLITS, EditDataset, LoadedSamples, Split
from editors.plugins import is_file_name

__all__ = [
    "SPLITS",
    "EditDataset",
    "LoadedSamples",
    "Split",
    "available",
    "broken",
    "dataset_keys",
    "get_dataset",
    "is_present",
]


def available() -> tuple[str, ...]:
    """Keys of all data sets that can be loaded: this package's, sorted, then the user's."""
    others = (key for key, dataset in own.datasets(_taken()).items() if _can_be_loaded(dataset))
    return (*_datasets(), *sorted(others))


def broken() -> Mapping[str, str]:
    """What is wrong with installed data sets that cannot be used, by name."""
    return own.broken(_taken())


def is_present(name: str) -> bool:
    """Whether a data set can be loaded here: not one that is known from records alone."""
    return _can_be_loaded(get_dataset(name))


def get_dataset(name: str) -> EditDataset:
    """The data set of a key, label or alias, in any letter case, or of a Python file.

    A file is run the first time, and when it has changed.

    Raises:
        ValueError: no such data set, and the nearest is named; or a file without one.
        FileNotFoundError: no such file.
    """
    if is_file_name(name):
        name = own.admit(Path(name), _taken())
    datasets = {**own.datasets(_taken()), **_datasets()}
    if name not in datasets and name in broken():
        raise ValueError(broken()[name])
    spellings = {key: (d.label, *d.aliases) for key, d in datasets.items()}
    return datasets[resolve_name("data set", name, spellings)]


def dataset_keys(names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Keys of the named data sets (the paper's three by default), in column order, each once.

    Raises:
        ValueError: an unknown data set.
    """
    keys = {get_dataset(name).key for name in names or DATASETS}
    return tuple(sorted(keys, key=lambda key: (position(DATASETS, key), key)))


def _can_be_loaded(dataset: EditDataset) -> bool:
    return not isinstance(dataset, own.RecordedDataset)


def _taken() -> frozenset[str]:
    return frozenset(name for one in _datasets().values() for name in own.names_of(one))


@cache
def _datasets() -> dict[str, EditDataset]:
    """One instance of each concrete data set that a module of this package defines."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for cls in vars(module).values():
            if _is_dataset(cls) and cls.__module__ == module.__name__:
                found[cls.key] = cls()
    return dict(sorted(found.items()))


def _is_dataset(value: object) -> TypeGuard[type[EditDataset]]:
    return (
        inspect.isclass(value)
        and issubclass(value, EditDataset)
        and not issubclass(value, own.RecordedDataset)
        and not inspect.isabstract(value)
    )

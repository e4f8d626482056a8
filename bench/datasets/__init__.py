"""Edit data sets, found by name: one module per set, for real and embedded files alike."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import TypeGuard

from bench.datasets.base import SPLITS, EditDataset, LoadedSamples, Split
from bench.names import resolve_name

__all__ = ["SPLITS", "EditDataset", "LoadedSamples", "Split", "available", "get_dataset"]


def available() -> tuple[str, ...]:
    """Keys of all data sets, sorted."""
    return tuple(_datasets())


def get_dataset(name: str) -> EditDataset:
    """The data set of a key, label or alias, in any letter case.

    Raises:
        ValueError: no such data set; names the nearest.
    """
    datasets = _datasets()
    spellings = {key: (d.label, *d.aliases) for key, d in datasets.items()}
    return datasets[resolve_name("data set", name, spellings)]


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
        inspect.isclass(value) and issubclass(value, EditDataset) and not inspect.isabstract(value)
    )

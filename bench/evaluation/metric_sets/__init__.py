"""Optional metric sets, a file each: the module `retention` holds the set of that name."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from bench.core.names import unknown_name

if TYPE_CHECKING:
    from bench.evaluation.metric_sets.base import MetricSet
    from bench.models.corpora import MeasureInputs


@cache
def available() -> tuple[str, ...]:
    """Names of all sets, in alphabetical order; none of them is imported."""
    return tuple(sorted({module.name for module in pkgutil.iter_modules(__path__)} - {"base"}))


@cache
def get_set(name: str) -> MetricSet:
    """The set of a name.

    Raises:
        ValueError: no set of that name; the nearest one is named.
    """
    if name not in available():
        raise unknown_name("metric set", name, available())
    from bench.evaluation.metric_sets.base import MetricSet

    module = import_module(f"{__name__}.{name}")
    (cls,) = (
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, MetricSet)
        and value.__module__ == module.__name__
    )
    metric_set: MetricSet = cls()
    return metric_set


def identities(names: Iterable[str], inputs: MeasureInputs) -> Mapping[str, str]:
    """What each set adds to a cell's identity.

    Raises:
        OSError, ValueError: a set lacks what it reads.
    """
    return {name: get_set(name).identity(inputs) for name in sorted(names)}

"""Modules that had other names once: importing one by its old name works, and warns."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class MovedModules(MetaPathFinder, Loader):
    """Finds modules by their old names, and is to be appended to `sys.meta_path`."""

    def __init__(self, moved: Mapping[str, str]) -> None:
        self._moved = moved  # old -> new names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See the base class; `path` and `target` play no part."""
        is_package = any(old.startswith(f"{name}.") for old in self._moved)
        if is_package or name in self._moved:
            return ModuleSpec(name, self, is_package=is_package)
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the new name in the place of the empty one; packages stay empty."""
        old = module.__name__
        if (new := self._moved.get(old)) is not None:
            warnings.warn(f"The module {old} is now {new}.", DeprecationWarning, stacklevel=2)
            sys.modules[old] = import_module(new)

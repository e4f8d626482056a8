"""The package's own source files, parsed, for tests about structure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Module:
    """One source file; `name` is its import name."""

    name: str
    path: Path
    tree: ast.Module


def modules(*packages: str) -> dict[str, Module]:
    """All modules of top-level packages, by import name."""
    parsed = {}
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            name = name.removesuffix(".__init__")
            parsed[name] = Module(name, path, ast.parse(path.read_text(encoding="utf-8")))
    return parsed


def imports(module: Module, known: dict[str, Module], *, types: bool) -> set[str]:
    """Names of the modules of `known` that a module imports, anywhere in its text.

    With `types` false, imports under `if TYPE_CHECKING` are left out: they do not run.
    """
    names = set()
    for node in _walk(module.tree, types=types):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.path}: imports are absolute"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                names.add(inside if inside in known else str(node.module))
    return {name for name in names if name in known} - {module.name}


def _walk(node: ast.AST, *, types: bool) -> Iterator[ast.AST]:
    """The statements; expressions hold no imports."""
    yield node
    for child in ast.iter_child_nodes(node):
        is_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if (types or not is_types) and not isinstance(child, ast.expr):
            yield from _walk(child, types=types)

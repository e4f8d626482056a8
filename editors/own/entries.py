"""What can be known of an editor without importing it: literal values of its class."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class EditorEntry:
    """Names and family of an editor."""

    key: str  # file name
    label: str  # as the paper's tables print it
    aliases: tuple[str, ...]
    family: str  # MP, AP or RB
    class_name: str
    in_paper: bool  # False: not in the paper's tables, and shown only when asked for


def read_entry(path: Path) -> EditorEntry | None:
    """The entry of a module with one labelled class, None of a module without.

    Raises:
        ValueError: it has several, or a class that does not say its family.
    """
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
    if "family" not in values:
        raise ValueError(f"{class_name} in {path.name} does not say its family.")
    return EditorEntry(
        path.stem,
        values["label"],
        tuple(values.get("aliases", ())),
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

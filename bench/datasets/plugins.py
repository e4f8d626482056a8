"""Users' own editors and data sets in worker processes and in records.

Worker processes run the named files again, and find installed code by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench import datasets
from bench.datasets import DATASET_SOURCE, EDITOR_SOURCE
from editors import registry
from editors.registry import EditorEntry


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
    files = datasets.named_files()
    return (*editors, *(OwnFile(kind="dataset", path=f.path, digest=f.digest) for f in files))


def run_files(files: Iterable[OwnFile]) -> None:
    """Run files in this process, unless it has run them already.

    Raises:
        OSError: a file is missing.
        ValueError: it has changed, or cannot be run.
    """
    for file in files:
        name = str(file.path)
        if file.kind == "editor":
            digest = registry.source_of(name)
        else:
            digest = datasets.get_dataset(name).source_digest
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
        if DATASET_SOURCE in inputs and dataset not in datasets.available():
            datasets.remember(dataset)


def _stream(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What names the editor: the cell itself, or the edits of a general-ability cell."""
    cell: Mapping[str, Any] = record["cell"]
    return cell.get("edits") or cell

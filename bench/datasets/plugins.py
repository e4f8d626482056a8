"""A user's own editors and data sets in records and in other processes.

A cell that runs own code carries a digest of its source among its inputs, so that changed code is
another cell. Worker processes run the files that were named again; installed code they find.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench import datasets
from bench.datasets import own
from editors import registry
from editors.registry import EditorEntry

EDITOR_SOURCE, DATASET_SOURCE = "source", "dataset_source"  # names of inputs


@dataclass(frozen=True, kw_only=True)
class OwnFile:
    """A file that a user named, as it was when it was run."""

    kind: Literal["editor", "dataset"]
    path: Path
    digest: str


def named_files() -> tuple[OwnFile, ...]:
    """What this process has run."""
    made = [
        OwnFile(kind="editor", path=one.path, digest=one.digest())
        for one in registry.named_files()
        if one.path is not None
    ]
    made += [OwnFile(kind="dataset", path=f.path, digest=f.digest) for f in own.named()]
    return tuple(made)


def run_files(files: Iterable[OwnFile]) -> None:
    """Run files in this process, those that it has not run.

    Raises:
        OSError: a file is not there.
        ValueError: it has changed, or cannot be run.
    """
    for one in files:
        if one.kind == "editor":
            now = registry.source_of(str(one.path))
        else:
            now = datasets.get_dataset(str(one.path)).source_digest
        if now != one.digest:
            raise ValueError(f"{one.path} has changed since the run was planned.")


def source_digests(editor: str, dataset: str) -> dict[str, str]:
    """What of a cell's inputs is code: nothing where both are of this package."""
    digests = {
        EDITOR_SOURCE: registry.source_of(editor),
        DATASET_SOURCE: datasets.get_dataset(dataset).source_digest,
    }
    return {name: digest for name, digest in digests.items() if digest is not None}


def is_own(record: Mapping[str, Any]) -> bool:
    """Whether the editor of a record is a user's own."""
    return EDITOR_SOURCE in _stream(record).get("inputs", {})


def remember(records: Iterable[Mapping[str, Any]]) -> None:
    """Know the names of own editors and data sets that are not loaded, from their records."""
    for record in records:
        stream = _stream(record)
        inputs = stream.get("inputs", {})
        if EDITOR_SOURCE in inputs and stream["editor"] not in registry.available():
            facts = record["editor"]
            registry.remember(
                EditorEntry(
                    key=stream["editor"],
                    class_name="",
                    label=facts["label"],
                    family=facts["family"],
                )
            )
        if DATASET_SOURCE in inputs and stream["dataset"] not in datasets.available():
            own.remember(stream["dataset"])


def _stream(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of a cell holds its editor: the cell itself, or the edits of one of ability."""
    cell: Mapping[str, Any] = record["cell"]
    return cell.get("edits") or cell

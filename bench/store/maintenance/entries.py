"""One line for each file of a store: what it is of, and in which state."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from bench.core.files import SET_ASIDE
from bench.store.query import stale_reason
from bench.store.results import (
    DamagedRecordError,
    OtherSchemaError,
    Record,
    ResultStore,
    is_complete,
    protocol_of,
    read_file,
)

State = Literal["complete", "failed", "stale", "corrupt"]
STATES: tuple[State, ...] = get_args(State)
EDITING = "editing"  # the kind of records that carry none


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of a store; what cannot be read from it is None."""

    path: Path
    state: State
    bytes: int
    problem: str | None = None  # of a stale or corrupt one
    kind: str | None = None
    editor: str | None = None
    dataset: str | None = None
    n_edits: int | None = None
    seed: int | None = None
    backbone: str | None = None
    protocol: str | None = None  # id
    measures: tuple[str, ...] = ()  # optional metric sets
    average: float | None = None  # of an editing record, in percent
    date: str | None = None  # when it was finished

    @property
    def key(self) -> str:
        """The name of the file without what was put behind it."""
        return self.path.name.partition(".")[0]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return vars(self) | {"path": str(self.path), "key": self.key}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which entries are wanted; None takes all."""

    editors: frozenset[str] | None = None
    datasets: frozenset[str] | None = None
    states: frozenset[str] | None = None

    def takes(self, entry: Entry) -> bool:
        """Whether an entry is wanted."""
        return (
            (self.editors is None or entry.editor in self.editors)
            and (self.datasets is None or entry.dataset in self.datasets)
            and (self.states is None or entry.state in self.states)
        )


def entries(store: ResultStore, choice: Choice = Choice()) -> Iterator[tuple[Entry, Record | None]]:
    """The wanted files with their records, by name, then what was set aside; nothing is changed.

    Raises:
        OSError: a file cannot be read.
    """
    for path in store.paths():
        entry, record = _read(path)
        if choice.takes(entry):
            yield entry, record
    for path in set_aside_files(store):
        entry = Entry(path=path, state="corrupt", bytes=path.stat().st_size, problem="set aside")
        if choice.takes(entry):
            yield entry, None


def set_aside_files(store: ResultStore) -> list[Path]:
    """What was found damaged earlier."""
    return sorted(path for path in store.directory.glob(SET_ASIDE) if path.is_file())


def path_of(store: ResultStore, prefix: str) -> Path:
    """The one record file whose key begins so.

    Raises:
        ValueError: none does, or several do.
    """
    if not re.fullmatch("[0-9a-f]{1,64}", prefix):
        raise ValueError(f"A key is up to 64 of the digits 0-9 and a-f, got {prefix!r}.")
    found = [path for path in store.paths() if path.name.startswith(prefix)]
    if not found:
        raise ValueError(f"No record in {store.directory} has a key that begins with {prefix}.")
    if len(found) > 1:
        keys = ", ".join(path.stem[: len(prefix) + 8] for path in found[:5])
        raise ValueError(f"{len(found)} keys begin with {prefix}, among them {keys}.")
    return found[0]


def _read(path: Path) -> tuple[Entry, Record | None]:
    size = path.stat().st_size
    try:
        record = read_file(path)
    except DamagedRecordError as error:
        return Entry(path=path, state="corrupt", bytes=size, problem=str(error)), None
    except OtherSchemaError as error:
        return Entry(path=path, state="stale", bytes=size, problem=str(error)), None
    cell = record["cell"]
    stream = cell.get("edits") or cell
    if not all(isinstance(stream.get(name), str | None) for name in ("editor", "dataset")):
        return Entry(path=path, state="corrupt", bytes=size, problem="names are no text"), None
    reason = stale_reason(record)
    state: State = "complete" if is_complete(record) else "failed"
    entry = Entry(
        path=path,
        state=state if reason is None else "stale",
        bytes=size,
        problem=reason,
        kind=cell.get("kind") or EDITING,
        editor=stream.get("editor"),
        dataset=stream.get("dataset"),
        n_edits=stream.get("n_edits"),
        seed=stream.get("seed"),
        backbone=cell["backbone"],
        protocol=protocol_of(record),
        measures=tuple(cell.get("measures", ())),
        average=_average(record),
        date=record["provenance"].get("finished"),
    )
    return entry, record


def _average(record: Record) -> float | None:
    try:
        scores = record["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]
        return 100 * float(scores["average"])
    except (KeyError, TypeError):
        return None

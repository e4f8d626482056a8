"""The files of a store: what each is of, in which state, and which of them nothing needs."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from bench.core.cells import Cell, of_protocol, stream_of
from bench.core.console import warn
from bench.core.files import PARTIAL, SET_ASIDE
from bench.datasets import EDITOR_SOURCE
from bench.evaluation.record_kinds import (
    OUR_WORDING,
    RELEASED,
    TIMING_VERSION,
    AbilityCell,
    TimingCell,
    identity_of,
)
from bench.store.results import (
    DamagedRecordError,
    OtherSchemaError,
    Record,
    ResultStore,
    is_complete,
    protocol_of,
    read_file,
)
from editors import registry

if TYPE_CHECKING:
    from bench.store.running import Leases

State = Literal["complete", "failed", "stale", "corrupt"]
STATES: tuple[State, ...] = get_args(State)
EDITING = "editing"  # the kind of records that carry none
YOUNG = 600.0  # seconds for which a partial file may still be being written (ours)
_KEY = re.compile("[0-9a-f]{64}")


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
        """The name of the file without its suffixes."""
        return self.path.name.partition(".")[0]

    def to_dict(self) -> dict[str, Any]:
        return vars(self) | {"path": str(self.path), "key": self.key}


Wanted = Callable[[Entry], bool]


def entries(store: ResultStore, wanted: Wanted) -> Iterator[tuple[Entry, Record | None]]:
    """The wanted files with their records, by name, then what was set aside; nothing is changed."""
    for path in store.paths():
        entry, record = _read(path)
        if wanted(entry):
            yield entry, record
    for path in set_aside_files(store):
        entry = Entry(path=path, state="corrupt", bytes=path.stat().st_size, problem="set aside")
        if wanted(entry):
            yield entry, None


def set_aside_files(store: ResultStore) -> list[Path]:
    """Files that were damaged when they were read earlier."""
    return sorted(path for path in store.directory.glob(SET_ASIDE) if path.is_file())


def path_of(store: ResultStore, prefix: str) -> Path:
    """The only record file whose key begins so; a ValueError where none does, or several do."""
    if not re.fullmatch("[0-9a-f]{1,64}", prefix):
        raise ValueError(f"A key is up to 64 of the digits 0-9 and a-f, got {prefix!r}.")
    paths = [path for path in store.paths() if path.name.startswith(prefix)]
    if not paths:
        raise ValueError(f"No record in {store.directory} has a key that begins with {prefix}.")
    if len(paths) > 1:
        keys = ", ".join(path.stem[: len(prefix) + 8] for path in paths[:5])
        raise ValueError(f"{len(paths)} keys begin with {prefix}, among them {keys}.")
    return paths[0]


def _read(path: Path) -> tuple[Entry, Record | None]:
    size = path.stat().st_size
    try:
        record = read_file(path)
    except (DamagedRecordError, OtherSchemaError) as error:
        broken: State = "stale" if isinstance(error, OtherSchemaError) else "corrupt"
        return Entry(path=path, state=broken, bytes=size, problem=str(error)), None
    cell = record["cell"]
    stream = stream_of(cell)
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
        **{name: stream.get(name) for name in ("editor", "dataset", "n_edits", "seed")},
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


@dataclass(frozen=True, kw_only=True)
class Waste:
    """A file or folder that can go."""

    path: Path
    reason: str
    bytes: int

    @classmethod
    def of(cls, path: Path, reason: str) -> Waste:
        """With the bytes of the file, or of all files of the folder."""
        files = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
        size = sum(file.lstat().st_size for file in files if not file.is_dir())
        return cls(path=path, reason=reason, bytes=size)

    def remove(self) -> None:
        """Remove the file or folder, not what a link points to."""
        if self.path.is_dir() and not self.path.is_symlink():
            shutil.rmtree(self.path)
        else:
            self.path.unlink(missing_ok=True)


def waste(
    store: ResultStore, *, stale: bool, corrupt: bool, crashed: Collection[Path] = ()
) -> Iterator[Waste]:
    """All that can go but leases; complete records never are among it.

    With `stale` records of other versions can go too, with `corrupt` what was set aside; `crashed`
    are leases of crashed processes, which hold nothing.
    """
    for folder in (store.directory, store.checkpoints, store.leases):
        yield from _half_written(folder, PARTIAL)
    yield from _half_written(store.leases, "*.taken")
    yield from _half_written(store.leases, "*.removed")
    yield from _checkpoints(store, crashed)
    if stale:
        for entry, _ in entries(store, lambda entry: entry.state == "stale"):
            yield Waste.of(entry.path, f"stale: {entry.problem}")
    if corrupt:
        for path in set_aside_files(store):
            yield Waste.of(path, "set aside as damaged")


def stale_leases(leases: Leases, store: ResultStore) -> list[Waste]:
    """Leases whose holder is gone, as far as `leases` has watched them."""
    paths = [store.leases / f"{key}.json" for key in leases.held() if leases.is_stale(key)]
    return [Waste.of(path, "lease of a crashed process") for path in paths]


def _half_written(folder: Path, pattern: str) -> Iterator[Waste]:
    """Files whose writer was killed."""
    for path in sorted(folder.glob(pattern)):
        if path.is_file() and time.time() - path.lstat().st_mtime > YOUNG:
            yield Waste.of(path, "half written")


def _checkpoints(store: ResultStore, crashed: Collection[Path]) -> Iterator[Waste]:
    """Those of cells that are complete and that nobody is computing again."""
    for path in sorted(store.checkpoints.glob("*")):
        key = _KEY.match(path.name)
        if key is None:
            continue
        lease = store.leases / f"{key[0]}.json"
        if (lease in crashed or not lease.exists()) and _is_done(store.path(key[0])):
            yield Waste.of(path, "checkpoint of a complete cell")


def _is_done(path: Path) -> bool:
    try:
        return is_complete(read_file(path))
    except (FileNotFoundError, ValueError):
        return False


# ---- stale records ---------------------------------------------------------------------------


def stale_reason(record: Record) -> str | None:
    """Why the present code would not compute a record, None of a current one."""
    cell = record["cell"]
    versions = (*_protocol_versions(cell), *_editor_versions(stream_of(cell)))
    return next((f"{name} {was}, now {now}" for name, was, now in versions if was != now), None)


def split_stale(records: Iterable[Record]) -> tuple[list[Record], list[Record]]:
    """(current records, stale ones)."""
    current: list[Record] = []
    stale: list[Record] = []
    for record in records:
        (current if stale_reason(record) is None else stale).append(record)
    return current, stale


def warn_of_stale(stale: Sequence[Record]) -> None:
    """One line about records that are left out, if there are any."""
    if stale:
        count = "1 stale record is" if len(stale) == 1 else f"{len(stale):,} stale records are"
        warn(
            f"warning: {count} left out ({stale_reason(stale[0])}); python -m bench results list "
            "--state stale names them."
        )


def records_of_protocol(records: Sequence[Record], wanted: str) -> list[Record]:
    """The records that follow a protocol; never none."""
    by_key = {record["key"]: record for record in records}
    identities = [identity_of(record["cell"]) for record in by_key.values()]
    return [by_key[identity.key()] for identity in of_protocol(identities, wanted)]


def _protocol_versions(cell: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """(name, version of the cell, present version) of what its numbers mean."""
    from bench.evaluation.general_ability.scoring import PROTOCOL_VERSION as ABILITY_VERSION
    from bench.evaluation.metrics import PROTOCOL_VERSION

    kind = cell.get("kind")
    if kind == Cell.kind:
        yield "metric protocol", cell["metric_version"], PROTOCOL_VERSION
        yield from _set_versions(cell)
    if kind == TimingCell.kind:
        yield "timing protocol", cell["timing_version"], TIMING_VERSION
    if kind == AbilityCell.kind:
        yield "ability protocol", cell["protocol_version"], ABILITY_VERSION
        if cell["scoring"] in ("paper", RELEASED):
            yield "wording", cell["wording"], OUR_WORDING


def _set_versions(cell: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    """Of optional metric sets; what an identity has of one begins with its version."""
    from bench.evaluation.metric_sets import available, get_set

    for name, text in cell.get("measures", {}).items():
        now = f"v{get_set(name).version}" if name in available() else "gone"
        yield f"metric set {name}", text.partition(" ")[0], now


def _editor_versions(stream: Mapping[str, Any]) -> Iterator[tuple[str, object, object]]:
    name = stream.get("editor")
    if name is None:
        return
    there = name in registry.available()
    if EDITOR_SOURCE in stream["inputs"]:  # a user's own: its version says less than its source
        if there:
            source = registry.source_of(name) or ""
            yield f"source of {name}", stream["inputs"][EDITOR_SOURCE][:8], source[:8]
        return
    now = registry.editor_class(name).version if there else "gone"
    yield f"{name} version", stream["editor_version"], now

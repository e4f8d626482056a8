"""What nothing needs any more: files half written, leases of the dead, checkpoints of the done."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.core.files import PARTIAL
from bench.store.leases import Leases
from bench.store.maintenance.entries import Choice, entries, set_aside_files
from bench.store.results import ResultStore, is_complete, read_file

YOUNG = 600.0  # seconds for which a file half written may still be in the making (ours)
_KEY = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Waste:
    """A file or folder that can go."""

    path: Path
    reason: str
    bytes: int


def waste(
    store: ResultStore, *, stale: bool, corrupt: bool, dead: Collection[Path] = ()
) -> Iterator[Waste]:
    """All that can go but leases; complete records never are among it.

    Args:
        store: where.
        stale: whether records of other versions can go too.
        corrupt: whether what was set aside can go too.
        dead: leases of dead processes, which hold nothing.
    """
    yield from _half_written(store.directory, PARTIAL)
    yield from _half_written(store.checkpoints, PARTIAL)
    yield from _half_written(store.leases, PARTIAL)
    yield from _half_written(store.leases, "*.taken")
    yield from _half_written(store.leases, "*.removed")
    yield from _checkpoints(store, dead)
    if stale:
        for entry, _ in entries(store, Choice(states=frozenset({"stale"}))):
            yield Waste(path=entry.path, reason=f"stale: {entry.problem}", bytes=entry.bytes)
    if corrupt:
        for path in set_aside_files(store):
            yield Waste(path=path, reason="set aside as damaged", bytes=path.stat().st_size)


def stale_leases(leases: Leases, store: ResultStore) -> list[Waste]:
    """Leases whose holder is gone, as far as `leases` has watched them."""
    paths = [store.leases / f"{key}.json" for key in leases.held() if leases.is_stale(key)]
    return [Waste(path=p, reason="lease of a crashed process", bytes=_size(p)) for p in paths]


def remove(one: Waste) -> None:
    """Remove a file or a folder, not what a link points to.

    Raises:
        OSError: it cannot be removed.
    """
    if one.path.is_dir() and not one.path.is_symlink():
        shutil.rmtree(one.path)
    else:
        one.path.unlink(missing_ok=True)


def remove_lease(leases: Leases, one: Waste) -> bool:
    """Remove a stale lease as one who takes it over does; False where another was quicker."""
    lease = leases.acquire(one.path.stem)
    if lease is None:
        return False
    lease.release()
    return True


def _half_written(folder: Path, pattern: str) -> Iterator[Waste]:
    """Files whose writer was killed."""
    for path in sorted(folder.glob(pattern)):
        if path.is_file() and time.time() - path.lstat().st_mtime > YOUNG:
            yield Waste(path=path, reason="half written", bytes=_size(path))


def _checkpoints(store: ResultStore, dead: Collection[Path]) -> Iterator[Waste]:
    """Those of cells that are complete and that nobody is computing again."""
    for path in sorted(store.checkpoints.glob("*")):
        key = _KEY.match(path.name)
        if key is None:
            continue
        lease = store.leases / f"{key[0]}.json"
        if lease not in dead and lease.exists():
            continue
        if _is_done(store.path(key[0])):
            yield Waste(path=path, reason="checkpoint of a complete cell", bytes=_size(path))


def _is_done(path: Path) -> bool:
    try:
        return is_complete(read_file(path))
    except (FileNotFoundError, ValueError):
        return False


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
    return sum(one.lstat().st_size for one in files if not one.is_dir())

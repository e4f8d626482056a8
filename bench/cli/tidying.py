"""What `results gc` removes, and what it says of it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

from bench.cli import arguments
from bench.core.console import say, warn
from bench.store.leases import PATIENCE, Leases
from bench.store.maintenance.garbage import Waste, remove, remove_lease, stale_leases, waste
from bench.store.results import ResultStore


def gc(args: argparse.Namespace) -> int:
    """Remove what nothing needs; say what, and how many bytes."""
    store = ResultStore(arguments.records_directory(args))
    if not store.directory.is_dir():
        raise FileNotFoundError(f"No records at {store.directory}; nothing to remove.")
    leases = Leases(store.leases)
    dead = _watched(leases, store)
    held = {one.path for one in dead}
    rest = list(waste(store, stale=args.stale, corrupt=args.corrupt, dead=held))
    removed = [*rest, *dead] if args.dry_run else [*_removed(rest), *_taken(leases, dead)]
    verb = "would remove" if args.dry_run else "removed"
    for one in removed:
        say(f"{verb} {one.path}, {one.bytes:,} bytes: {one.reason}")
    total = sum(one.bytes for one in removed)
    say(f"{verb} {len(removed):,} files and folders, {total:,} bytes")
    return 0


def _watched(leases: Leases, store: ResultStore) -> list[Waste]:
    """Stale leases; those of other machines are watched for as long as any process waits."""
    found = stale_leases(leases, store)
    living = [key for key in leases.held() if not leases.is_stale(key)]
    unknown = [key for key in living if not leases.is_here(key)]
    if not unknown:
        return found
    warn(f"{len(unknown)} leases are of other machines; watching them for {PATIENCE:.0f} s.")
    time.sleep(PATIENCE + 1)
    return stale_leases(leases, store)


def _removed(found: Iterable[Waste]) -> list[Waste]:
    done = []
    for one in found:
        remove(one)
        done.append(one)
    return done


def _taken(leases: Leases, found: Iterable[Waste]) -> list[Waste]:
    return [one for one in found if remove_lease(leases, one)]

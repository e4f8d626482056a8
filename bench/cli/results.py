"""The `results` command: list, show, verify, tidy, export and import the records of a store."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.cli.arguments import Option, add, names, one_of
from bench.core.config import RESULTS
from bench.core.console import columns, say, warn
from bench.core.files import check_new
from bench.core.names import editor_keys
from bench.core.progress import counted, show_count
from bench.datasets import dataset_keys
from bench.evaluation.record_kinds import identity_of
from bench.store import inventory
from bench.store.inventory import (
    STATES,
    Entry,
    Wanted,
    entries,
    path_of,
    set_aside_files,
    stale_reason,
)
from bench.store.reference import compact
from bench.store.results import Record, ResultStore, is_complete, protocol_of, read_file
from bench.store.running import PATIENCE, Leases


def add_results(actions: Mapping[str, argparse.ArgumentParser]) -> None:
    """The arguments of the actions of `results`."""
    for action, parser in actions.items():
        add(parser, Option("--out", "DIR", f"the store (default: {RESULTS})", Path))
        parser.set_defaults(func=ACTIONS[action])
        if action in ("list", "export"):
            for name in ("editor", "dataset"):
                options = (f"--{name}s", f"--{name}")
                parser.add_argument(*options, type=names, metavar="A,B", help="default: all")
            text = f"one of {', '.join(STATES)}"
            add(parser, Option("--state", "STATE", text, one_of("state", STATES)))
        if action in ("list", "show"):
            add(parser, Option("--json", "", "print JSON"))
    text = "the key, or so much of it that it is the only"
    actions["show"].add_argument("key", metavar="KEY", help=text)
    add(
        actions["gc"],
        Option("--stale", "", "also records of other versions"),
        Option("--corrupt", "", "also damaged files set aside"),
        Option("--dry-run", "", "list it and remove nothing"),
    )
    text = "packed where it ends in .gz"
    actions["export"].add_argument("file", type=Path, metavar="FILE", help=text)
    text = "as export writes them"
    actions["import"].add_argument("files", type=Path, nargs="+", metavar="FILE", help=text)
    add(
        actions["import"],
        Option("--partial", "", "take the good records of files with bad ones"),
        Option("--overwrite", "", "replace other complete records of the same cells"),
    )


def list_records(args: argparse.Namespace) -> int:
    """One line for each record: state, what of, Avg, size, date."""
    store = _store(args)
    read = counted(entries(store, _wanted(args)), "records", None)
    listed = [entry for entry, _ in read]
    if args.json:
        say(json.dumps([entry.to_dict() for entry in listed], indent=1, ensure_ascii=False))
        return 0
    for line in columns(map(_columns, listed)):
        say(line)
    say(f"{len(listed):,} records" if len(listed) != 1 else "1 record")
    return 0


def show_record(args: argparse.Namespace) -> int:
    """A record without its rows."""
    record = read_file(path_of(_store(args), args.key))
    if args.json:
        values = {"protocol": protocol_of(record), **compact(record)}
        say(json.dumps(values, indent=1, ensure_ascii=False))
        return 0
    for line in _in_words(record):
        say(line)
    return 0


def verify(args: argparse.Namespace) -> int:
    """Exit code 0 where every record holds, else 1."""
    from bench.store.verification import problems_in

    store, records, bad = _store(args), 0, 0
    for _, problems in counted(problems_in(store), "records", len([*store.paths()])):
        records += 1
        bad += bool(problems)
        for line in problems:
            say(line)
    aside = len(set_aside_files(store))
    say(f"{records:,} records, {bad:,} with problems; {aside:,} damaged files set aside")
    return int(bad > 0)


def gc(args: argparse.Namespace) -> int:
    """Remove what nothing needs; print what, and how many bytes."""
    store = _store(args)
    leases = Leases(store.leases)
    crashed = _stale_leases(leases, store)
    held = {waste.path for waste in crashed}
    rest = list(inventory.waste(store, stale=args.stale, corrupt=args.corrupt, crashed=held))
    removed = [*rest, *crashed]
    if not args.dry_run:
        for waste in rest:
            waste.remove()
        removed = [*rest, *(waste for waste in crashed if _taken(leases, waste.path.stem))]
    verb = "would remove" if args.dry_run else "removed"
    for waste in removed:
        say(f"{verb} {waste.path}, {waste.bytes:,} bytes: {waste.reason}")
    total = sum(waste.bytes for waste in removed)
    say(f"{verb} {len(removed):,} files and folders, {total:,} bytes")
    return 0


def _stale_leases(leases: Leases, store: ResultStore) -> list[inventory.Waste]:
    """Stale leases; those of other machines are watched for as long as any process waits."""
    stale = inventory.stale_leases(leases, store)
    living = [key for key in leases.held() if not leases.is_stale(key)]
    unknown = [key for key in living if not leases.is_here(key)]
    if unknown:
        warn(f"{len(unknown)} leases are of other machines; watching them for {PATIENCE:.0f} s.")
        time.sleep(PATIENCE + 1)
        stale = inventory.stale_leases(leases, store)
    return stale


def _taken(leases: Leases, key: str) -> bool:
    """Remove a stale lease as a process that takes it over does; False where one was quicker."""
    lease = leases.acquire(key)
    if lease is None:
        return False
    lease.release()
    return True


def export_records(args: argparse.Namespace) -> int:
    """Write the chosen records to a new file; complete ones unless another state is named."""
    from bench.store.exchange import export

    wanted = _wanted(args, state="complete")
    check_new(args.file)
    with show_count("records written", None) as more:
        count = export(_store(args), args.file, wanted, more)
    say(f"written: {args.file}, {count:,} records")
    return 0


def take(args: argparse.Namespace) -> int:
    """Import records; exit code 1 where one was refused."""
    from bench.store.exchange import read_files, write_records

    store = _store(args)
    with show_count("records checked", None) as more:
        read = read_files(store, args.files, overwrite=args.overwrite, report=more)
    for place, reason in read.refused.items():
        warn(f"refused: {reason if place in reason else f'{place}: {reason}'}")
    if read.refused and not args.partial:
        raise ValueError(
            f"{len(read.refused)} of {len(read.refused) + len(read.new) + len(read.known)} records "
            "were refused, so none is imported; --partial imports the others."
        )
    if read.new:
        store.prepare()
    with show_count("records written", len(read.new)) as more:
        count = write_records(store, args.files, read, more)
    say(f"imported: {count:,}, there already: {len(read.known):,}, refused: {len(read.refused):,}")
    return int(bool(read.refused))


def _wanted(args: argparse.Namespace, state: str | None = None) -> Wanted:
    """Which files are wanted; without `--state` those of `state`, if any."""
    editors = None if args.editors is None else editor_keys(args.editors)
    datasets = None if args.datasets is None else dataset_keys(args.datasets)
    state = args.state or state
    return lambda entry: (
        (editors is None or entry.editor in editors)
        and (datasets is None or entry.dataset in datasets)
        and state in (None, entry.state)
    )


def _store(args: argparse.Namespace) -> ResultStore:
    """The store, which must be there but for an import."""
    directory = args.out or RESULTS
    if args.action != "import" and not directory.is_dir():
        raise FileNotFoundError(f"No records at {directory}; python -m bench run writes them.")
    return ResultStore(directory)


def _columns(entry: Entry) -> tuple[str, ...]:
    average = "" if entry.average is None else f"Avg {entry.average:.2f}"
    edits = "" if entry.n_edits is None else f"{entry.n_edits:,} edits"
    seed = "" if entry.seed is None else f"seed {entry.seed}"
    editor = entry.editor or ("unedited" if entry.kind else "")
    size = f"{entry.bytes:,} B"
    sets = f"with {', '.join(entry.measures)}" if entry.measures else ""
    what = (entry.kind or "", editor, entry.dataset or "", edits, seed, entry.backbone or "",
            entry.protocol or "", sets)  # fmt: skip
    date, problem = (entry.date or "")[:19], entry.problem or ""
    return (entry.state, entry.key[:12], *what, average, size, date, problem)


def _in_words(record: Record) -> Iterator[str]:
    """A record in words: what of, in which state, how computed, how good, what went worst."""
    status, cell, stale = record["status"], record["cell"], stale_reason(record)
    yield identity_of(cell).describe()
    yield f"key      {record['key']}"
    yield f"state    {status['state']}" + ("" if stale is None else f", stale: {stale}")
    yield f"protocol {protocol_of(record)}"
    yield f"schema   {record['schema']}"
    yield f"digest   {record.get('digest', 'none in this schema')}"
    if not is_complete(record):
        yield f"error    {status.get('error')}: {status.get('message')}"
        yield from str(status.get("traceback", "")).splitlines()
    yield from _section("cell", cell)
    yield from _section("provenance", record["provenance"])
    yield from _section("data", record.get("data", {}))
    yield from _section("summary", record.get("summary", {}))
    worst = compact(record).get("worst", []) if is_complete(record) else []
    for sample in worst:
        yield f"worst sample {sample['id']}, score {sample['score']:.3f}"
        for item in sample["items"]:
            yield f"  {item['kind']}: {item['prompt']!r} -> {item['target']!r}"
            yield f"    before {item['before']!r}, after {item['after']!r}"


def _section(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    if values:
        yield f"{title}:"
    for name, value in values.items():
        yield from _nested(f"  {name}", value)


def _nested(name: str, value: Any) -> Iterator[str]:
    """One line for each number or short value."""
    if isinstance(value, Mapping) and any(isinstance(part, Mapping) for part in value.values()):
        for inner, part in value.items():
            yield from _nested(f"{name}/{inner}", part)
    elif isinstance(value, float):
        yield f"{name}  {value:.6g}"
    elif isinstance(value, str):
        yield f"{name}  {value}"
    else:
        yield f"{name}  {json.dumps(value, ensure_ascii=False)}"


ACTIONS = {
    "list": list_records,
    "show": show_record,
    "verify": verify,
    "gc": gc,
    "export": export_records,
    "import": take,
}

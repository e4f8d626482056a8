"""The `results` command: list, show, verify, tidy, export and import the records of a store."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import arguments
from bench.cli.tidying import gc
from bench.cli.values import names, one_of
from bench.core.console import say, warn
from bench.core.counting import counted, show_count
from bench.core.names import editor_keys
from bench.datasets import dataset_keys
from bench.store.maintenance.entries import STATES, Choice, Entry, entries, path_of, set_aside_files
from bench.store.results import ResultStore, protocol_of, read_file

if TYPE_CHECKING:
    from argparse import _SubParsersAction

EXAMPLES = """examples:
  python -m bench results list --state failed
      the cells that failed, one a line
  python -m bench results show 3f2a
      all about the record whose key begins so: scores, circumstances, worst answers, traceback
  python -m bench results verify --out runs/mine
      whether every record is as it was written, and its scores follow from its rows
  python -m bench results export mine.jsonl.gz --editors recipe
  python -m bench results import mine.jsonl.gz --out runs/shared
      records from one place to another
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `results` with its own commands."""
    parser = subparsers.add_parser(
        "results",
        help="list, show, verify, tidy, export and import records",
        description="Care for the records of a store.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    listing = _action(commands, "list", "one line for each record", list_records)
    _add_choice(listing)
    _add_json(listing)

    showing = _action(commands, "show", "all about one record but its rows", show_record)
    showing.add_argument("key", metavar="KEY", help="the key, or so much of it that it is the only")
    _add_json(showing)

    _action(commands, "verify", "check digests, keys, shapes and scores", verify)

    tidying = _action(commands, "gc", "remove what nothing needs; complete records stay", gc)
    tidying.add_argument("--stale", action="store_true", help="also records of other versions")
    tidying.add_argument("--corrupt", action="store_true", help="also damaged files set aside")
    tidying.add_argument("--dry-run", action="store_true", help="say it and remove nothing")

    out = _action(commands, "export", "write full records as JSON lines", export_records)
    out.add_argument("file", type=Path, metavar="FILE", help="packed where it ends in .gz")
    _add_choice(out)

    into = _action(commands, "import", "check records of other stores and take them", take)
    into.add_argument("files", type=Path, nargs="+", metavar="FILE", help="as export writes them")
    into.add_argument(
        "--partial", action="store_true", help="take the good records of files with bad ones"
    )
    into.add_argument(
        "--overwrite", action="store_true", help="replace other complete records of the same cells"
    )


def list_records(args: argparse.Namespace) -> int:
    """One line for each record: state, what of, Avg, size, date."""
    store = _store(args)
    read = counted(entries(store, _choice(args)), "records", None)
    found = [entry for entry, _ in read]
    if args.json:
        say(json.dumps([entry.to_dict() for entry in found], indent=1, ensure_ascii=False))
        return 0
    rows = [_columns(entry) for entry in found]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
    say(f"{len(found):,} records" if len(found) != 1 else "1 record")
    return 0


def show_record(args: argparse.Namespace) -> int:
    """A record without its rows."""
    from bench.cli.record_text import lines
    from bench.store.compact import compact

    record = read_file(path_of(_store(args), args.key))
    if args.json:
        said = {"protocol": protocol_of(record), **compact(record)}
        say(json.dumps(said, indent=1, ensure_ascii=False))
        return 0
    for line in lines(record):
        say(line)
    return 0


def verify(args: argparse.Namespace) -> int:
    """Exit code 0 where every record holds, else 1."""
    from bench.store.maintenance.verifying import problems_in

    store, records, bad = _store(args), 0, 0
    for _, found in counted(problems_in(store), "records", len([*store.paths()])):
        records += 1
        bad += bool(found)
        for line in found:
            say(line)
    aside = len(set_aside_files(store))
    say(f"{records:,} records, {bad:,} with problems; {aside:,} damaged files set aside")
    return int(bad > 0)


def export_records(args: argparse.Namespace) -> int:
    """Write the chosen records; complete ones unless another state is named."""
    from bench.store.maintenance.exchange import export

    choice = _choice(args, states=frozenset({"complete"}))
    with show_count("records written", None) as more:
        count = export(_store(args), args.file, choice, more)
    say(f"written: {args.file}, {count:,} records")
    return 0


def take(args: argparse.Namespace) -> int:
    """Import records; exit code 1 where one was refused."""
    from bench.store.maintenance.exchange import read_files, write_records

    store = _store(args)
    with show_count("records checked", None) as more:
        read = read_files(store, args.files, overwrite=args.overwrite, told=more)
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


def _action(
    commands: _SubParsersAction[argparse.ArgumentParser],
    name: str,
    meaning: str,
    func: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=meaning, description=f"{meaning.capitalize()}.")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"the store (default: {arguments.RESULTS})"
    )
    parser.set_defaults(func=func)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--editors", "--editor", type=names, metavar="A,B", help="default: all")
    parser.add_argument("--datasets", "--dataset", type=names, metavar="A,B", help="default: all")
    parser.add_argument("--state", type=one_of("state", STATES), help=f"one of {', '.join(STATES)}")


def _choice(args: argparse.Namespace, states: frozenset[str] | None = None) -> Choice:
    return Choice(
        editors=None if args.editors is None else frozenset(editor_keys(args.editors)),
        datasets=None if args.datasets is None else frozenset(dataset_keys(args.datasets)),
        states=states if args.state is None else frozenset({args.state}),
    )


def _store(args: argparse.Namespace) -> ResultStore:
    """The store, which must be there but for an import."""
    directory = arguments.records_directory(args)
    if args.action != "import" and not directory.is_dir():
        raise FileNotFoundError(f"No records at {directory}; python -m bench run makes them.")
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
    problem = "" if entry.problem is None else entry.problem
    return (entry.state, entry.key[:12], *what, average, size, (entry.date or "")[:19], problem)

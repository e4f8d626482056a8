"""The `check` command: whether numbers are still right."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import arguments
from bench.cli.kinds import KINDS
from bench.cli.values import one_of, whole
from bench.core.console import say, warn
from bench.core.grids import TABLES, Table, get_table
from bench.store.query import records_of_protocol

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from bench.checks.claims import Evidence
    from bench.checks.regression.evidence import Verdicts
    from bench.checks.regression.published import Comparison
    from bench.checks.regression.rerun import Outcome
    from bench.core.published import PublishedCell

AGAINST = ("reference", "published")

EXAMPLES = """examples:
  python -m bench check
      a part of every reference run again, then the paper's claims on its numbers and on ours
  python -m bench check --against reference --table 1
      the quick cells of Table 1 alone
  python -m bench check --against published --out runs/mine
      records of the paper's backbones in runs/mine, each cell against the published one

Exit code 1 where a reference does not hold, a known verdict on a claim changes, or a cell of the
paper's backbones is not where it was published. That a claim fails is no error: it is reported.
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `check`."""
    parser = subparsers.add_parser(
        "check",
        help="check the numbers: references run again, claims, published cells",
        description="Run a part of the committed reference again, judge the paper's claims on its "
        "own numbers and on ours, and compare records of the paper's backbones with the tables.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", type=whole(1), metavar="N", help="default: all, and figures")
    parser.add_argument(
        "--against",
        type=one_of("side", AGAINST),
        metavar="SIDE",
        help="reference or published (default: both)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="records (default: results/)")
    parser.add_argument("--jobs", type=whole(1), metavar="N", help="worker processes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it to FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a report to FILE")
    parser.add_argument(
        "--pin", type=Path, metavar="FILE", help="write the verdicts on claims as the known ones"
    )
    arguments.add_protocol(parser)
    parser.set_defaults(func=check)


def check(args: argparse.Namespace) -> int:
    """Exit code 0 where nothing changed."""
    tables = [get_table(args.table)] if args.table else [*TABLES.values()]
    outcomes = [] if args.against == "published" else _references(tables, args.jobs)
    claims = [] if args.against == "reference" else _claims(args.table)
    cells = [] if args.against == "reference" else _published(tables, args)
    changed = _changed(claims, args)
    good = all(one.good for one in outcomes) and not changed
    good = good and all(one.verdict == "agrees" for one in cells)
    _write(args, outcomes, claims, cells)
    say("check: " + ("passed" if good else "failed"))
    return int(not good)


def _references(tables: Sequence[Table], jobs: int | None) -> list[Outcome]:
    from bench.checks.regression.rerun import rerun
    from bench.store.reference import has_reference

    found = []
    for table in tables:
        if table.measures != "editing" or not has_reference(f"table{table.number}"):
            continue
        say(f"Table {table.number}: a part of the reference, run again")
        for one in rerun(table, jobs=jobs):
            say(f"  {one.verdict:<8} {one.cell}" + (f": {one.detail}" if one.detail else ""))
            found.append(one)
    return found


def _claims(table: int | None) -> list[Verdicts]:
    """Those of one table, or of all tables and figures."""
    from bench.checks.claims import Evidence, Exhibit
    from bench.checks.regression.evidence import verdicts
    from bench.core.published import all_numbers

    published = Evidence(tables={place: one.value for place, one in all_numbers().items()})
    wanted = None if table is None else Exhibit("table", table)
    found = [one for one in verdicts(published, _ours()) if wanted in (None, one.exhibit)]
    say("The paper's claims, on its numbers and on the reference results")
    for one in found:
        pair = "".join(f"{verdict:<12}" for verdict in one.pair)
        say(f"  {pair}{one.exhibit}: {one.claim.text}")
        say(f"      published: {one.published.figures}")
        say(f"      ours: {one.ours.figures}")
    return found


def _ours() -> Evidence:
    """All committed reference results."""
    from bench.checks.regression.evidence import evidence, values
    from bench.evaluation.record_kinds import identity_of
    from bench.store.reference import has_reference, reference_records

    found: dict[PublishedCell, float] = {}
    for table in TABLES.values():
        if has_reference(f"table{table.number}"):
            records = reference_records(f"table{table.number}")
            everything = argparse.Namespace(
                editors=None,
                with_recent=False,
                datasets=None,
                edits=None,
                seeds=None,
                n_seeds=None,
                measure=None,
            )
            identities = [identity_of(record["cell"]) for record in records]
            cells = KINDS[table.measures].chosen(identities, everything)
            found |= values(table, cells, records)
    return evidence(found)


def _published(tables: Sequence[Table], args: argparse.Namespace) -> list[Comparison]:
    from bench.checks.regression.published import compare_published
    from bench.store.query import split_stale, stale_warning
    from bench.store.results import ResultStore, is_complete

    store = ResultStore(arguments.records_directory(args))
    records, stale = split_stale(record for record in store.records() if is_complete(record))
    if warning := stale_warning(stale):
        warn(warning)
    if args.protocol is not None:
        records = records_of_protocol(records, args.protocol)
    found = [
        one
        for table in tables
        if table.measures == "editing"
        for one in compare_published(table, records)
    ]
    if not found:
        say(f"Published cells: no unlimited record of the paper's backbones in {store.directory}.")
        return []
    differing = [one for one in found if one.verdict == "differs"]
    say(f"Published cells: {len(found) - len(differing)} of {len(found)} agree")
    for one in differing:
        say(f"  differs  {one}")
    return found


def _changed(claims: Sequence[Verdicts], args: argparse.Namespace) -> list[str]:
    """Claims whose verdicts are not the known ones."""
    from bench.checks.regression.evidence import pin, pinned

    if args.pin is not None:
        say(f"written: {pin({one.key: one.pair for one in claims}, args.pin)}")
        return []
    known = pinned() or {}
    changed = [one for one in claims if one.key in known and known[one.key] != one.pair]
    for one in changed:
        was, now = (" and ".join(pair) for pair in (known[one.key], one.pair))
        say(f"  changed  {one.key}: was {was} (published and ours), is {now}")
    return [one.key for one in changed]


def _write(
    args: argparse.Namespace,
    outcomes: Sequence[Outcome],
    claims: Sequence[Verdicts],
    cells: Sequence[Comparison],
) -> None:
    from bench.checks.regression.report import markdown, plain
    from bench.core.files import write_text

    content: dict[str, Any] = plain(outcomes, claims, cells)
    if args.json is not None:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        say(f"written: {write_text(args.json, text)}")
    if args.markdown is not None:
        say(f"written: {write_text(args.markdown, markdown(content))}")

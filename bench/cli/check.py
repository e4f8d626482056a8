"""The `check` command: whether numbers are still right."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import options
from bench.cli.arguments import add, one_of, whole
from bench.core.config import RESULTS
from bench.core.console import say, warn
from bench.core.grids import TABLES, Table, get_table
from bench.store.query import records_of_protocol

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from bench.checks.regression.evidence import Verdicts
    from bench.checks.regression.published import Comparison
    from bench.checks.regression.rerun import Outcome

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
    add(parser, options.PROTOCOL)
    parser.set_defaults(func=check)


def check(args: argparse.Namespace) -> int:
    """Exit code 0 where nothing changed."""
    tables = [get_table(args.table)] if args.table else [*TABLES.values()]
    outcomes: list[Outcome] = []
    claims: list[Verdicts] = []
    comparisons: list[Comparison] = []
    if args.against != "published":
        outcomes = _references(tables, args.jobs)
    if args.against != "reference":
        claims = _claims(args.table)
        comparisons = _published(tables, args)
    good = all(outcome.good for outcome in outcomes)
    good &= all(comparison.verdict == "agrees" for comparison in comparisons)
    good &= _known(claims, args.pin)
    _write(args, outcomes, claims, comparisons)
    say("check: " + ("passed" if good else "failed"))
    return int(not good)


def _references(tables: Sequence[Table], jobs: int | None) -> list[Outcome]:
    from bench.checks.regression.rerun import rerun
    from bench.store.reference import has_reference

    outcomes = []
    for table in tables:
        if table.measures != "editing" or not has_reference(f"table{table.number}"):
            continue
        say(f"Table {table.number}: a part of the reference, run again")
        for outcome in rerun(table, jobs=jobs):
            detail = f": {outcome.detail}" if outcome.detail else ""
            say(f"  {outcome.verdict:<8} {outcome.cell}{detail}")
            outcomes.append(outcome)
    return outcomes


def _claims(table: int | None) -> list[Verdicts]:
    """Those of one table, or of all tables and figures."""
    from bench.checks.claims import Exhibit
    from bench.checks.regression.evidence import reference_evidence, verdicts

    wanted = None if table is None else Exhibit("table", table)
    every = [each for each in verdicts(reference_evidence()) if wanted in (None, each.exhibit)]
    say("The paper's claims, on its numbers and on the reference results")
    for each in every:
        pair = "".join(f"{verdict:<12}" for verdict in each.pair)
        say(f"  {pair}{each.exhibit}: {each.claim.text}")
        say(f"      published: {each.published.figures}")
        say(f"      ours: {each.ours.figures}")
    return every


def _published(tables: Sequence[Table], args: argparse.Namespace) -> list[Comparison]:
    from bench.checks.regression.published import compare_published
    from bench.store.query import split_stale, stale_warning
    from bench.store.results import ResultStore, is_complete

    store = ResultStore(args.out or RESULTS)
    records, stale = split_stale(record for record in store.records() if is_complete(record))
    if warning := stale_warning(stale):
        warn(warning)
    if args.protocol is not None:
        records = records_of_protocol(records, args.protocol)
    editing = [table for table in tables if table.measures == "editing"]
    every = [each for table in editing for each in compare_published(table, records)]
    if not every:
        say(f"Published cells: no unlimited record of the paper's backbones in {store.directory}.")
        return []
    differing = [comparison for comparison in every if comparison.verdict == "differs"]
    say(f"Published cells: {len(every) - len(differing)} of {len(every)} agree")
    for comparison in differing:
        say(f"  differs  {comparison}")
    return every


def _known(claims: Sequence[Verdicts], path: Path | None) -> bool:
    """Whether the verdicts are the known ones; with a path, they are written there as known."""
    from bench.checks.regression.evidence import pin, pinned

    if path is not None:
        say(f"written: {pin({each.key: each.pair for each in claims}, path)}")
        return True
    known = pinned() or {}
    changed = [each for each in claims if known.get(each.key, each.pair) != each.pair]
    for each in changed:
        was, now = (" and ".join(pair) for pair in (known[each.key], each.pair))
        say(f"  changed  {each.key}: was {was} (published and ours), is {now}")
    return not changed


def _write(
    args: argparse.Namespace,
    outcomes: Sequence[Outcome],
    claims: Sequence[Verdicts],
    comparisons: Sequence[Comparison],
) -> None:
    from bench.checks.regression.report import markdown, plain
    from bench.core.files import write_text

    content = plain(outcomes, claims, comparisons)
    if args.json is not None:
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        say(f"written: {write_text(args.json, text)}")
    if args.markdown is not None:
        say(f"written: {write_text(args.markdown, markdown(content))}")

"""The `audit` command: the published tables checked against themselves."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction

EXAMPLES = """examples:
  python -m bench audit
      every finding in the terminal, a line each, grouped by check
  python -m bench audit --markdown report/audit.md --json report/audit.json
      a report to read, and the findings with their ids and numbers to compare

It reads the published tables alone; neither models nor records are needed.
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `audit`."""
    parser = subparsers.add_parser(
        "audit",
        help="check the published tables against themselves",
        description="Check the paper's Tables 1 to 6 against themselves: averages and sums, "
        "claims, lost single numbers, significance, what the printed spreads can be, counts.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a report to FILE")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write ids, verdicts and numbers to FILE"
    )
    parser.set_defaults(func=show)


def show(args: argparse.Namespace) -> int:
    """Exit code 0 whatever is found; what CI pins are the findings."""
    from bench.checks.audit import audit
    from bench.checks.audit.findings import lines, markdown, to_json
    from bench.core.console import say
    from bench.core.files import write_text
    from bench.core.published import all_numbers

    sections = audit(all_numbers())
    for line in lines(sections):
        say(line)
    if args.markdown:
        say(f"written: {write_text(args.markdown, markdown(sections))}")
    if args.json:
        say(f"written: {write_text(args.json, to_json(sections))}")
    return 0

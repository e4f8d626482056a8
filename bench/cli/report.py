"""The `report` command: a static folder of pages from stored records only."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.console import say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

OUT = Path("report")
COMMITTED = "tables/reference"  # as messages name it

EXAMPLES = """examples:
  python -m bench report
      tables, figures, claims and audit of the committed results, in report/
  python -m bench report --from results --out report-mine
      the same of the records that `run` left in results/
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `report`."""
    parser = subparsers.add_parser(
        "report",
        help="write a folder of web pages from stored records",
        description="Write one folder of web pages from stored records: tables beside the "
        "published values, figures, every cell with its worst samples, claims and audit. It "
        "needs no server and no network.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="DIR",
        help="records: a directory as `run` leaves it, or one with *.jsonl files of compact "
        f"records; without this, the committed ones of {COMMITTED}",
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="default: %(default)s/"
    )
    parser.set_defaults(func=report)


def report(args: argparse.Namespace) -> int:
    """Exit code 0."""
    from bench.report.build import HOME, contents
    from bench.report.pages import check_place, write_folder
    from bench.report.sources import read
    from bench.store.reference import reference_folder

    check_place(args.out)
    files = contents(read(args.source or reference_folder()))
    write_folder(args.out, files)
    size = sum(map(len, files.values())) / 1e6
    say(f"{len(files):,} files, {size:.1f} MB")
    say(f"written: {args.out / HOME}; open it in a browser, as a file.")
    return 0

"""Measure the package against a plain way of working, and print what came out.

    python -m benchmarks                    all of them: about half an hour on two cores
    python -m benchmarks cells --editors rome,grace --edits 10
    python -m benchmarks growth --out benchmarks/results/growth.json

Every ratio is between two sides measured in turn in one process. Times are worth something on a
quiet machine only, and nothing here is a test.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from bench.cli.values import whole
from bench.core.console import say, show, warn
from bench.core.files import write_text
from bench.core.names import editor_keys
from bench.core.provenance import now, provenance
from benchmarks import cells, growth, ladder, report, repositories, startup
from benchmarks.lines import Line, table
from editors import registry

ALL = (
    cells.NAME,
    ladder.NAME,
    growth.NAME,
    repositories.NAME,
    startup.NAME,
    startup.RUN,
    report.NAME,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 where two sides did not do the same work, or 2 where one could not."""
    args = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of processes that are started
    started, lines = now(), []
    try:
        for name in args.benchmarks or ALL:
            warn(f"{name} ...")
            for line in _benchmarks(args)[name]():
                warn(f"  {line.subject}: {line.figure}: {line.ours:.3g}")
                lines.append(line)
    except cells.DifferentScoresError as error:
        warn(f"error: {error}")
        return 1
    except (OSError, ValueError) as error:
        warn(f"error: {error}")
        return 2
    finally:
        _report(lines, args.out, started)
    return 0


def _report(lines: Sequence[Line], out: Path | None, started: str) -> None:
    """Print what there is, and write it where a file is named."""
    if lines:
        show(table(lines))
    if lines and out is not None:
        made = provenance(torch.device("cpu"), started=started, seconds={})
        body = {"provenance": made, "lines": [line.to_dict() for line in lines]}
        write_text(out, json.dumps(body, indent=1) + "\n")
        say(f"written: {out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benchmarks", nargs="*", choices=ALL, metavar="NAME", help=", ".join(ALL))
    parser.add_argument(
        "--editors",
        type=_editors,
        default=editor_keys(),
        metavar="A,B",
        help="of `cells` (default: all)",
    )
    parser.add_argument(
        "--edits", type=whole(1), default=100, metavar="N", help="of `cells` (default: 100)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the lines as JSON too")
    return parser


def _editors(text: str) -> list[str]:
    try:
        return [registry.describe(name).key for name in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _benchmarks(args: argparse.Namespace) -> dict[str, Callable[[], Iterator[Line]]]:
    return {
        cells.NAME: lambda: cells.cells(args.editors, args.edits),
        ladder.NAME: ladder.ladder,
        growth.NAME: growth.growth,
        repositories.NAME: repositories.repositories,
        startup.NAME: startup.startup,
        startup.RUN: startup.table1,
        report.NAME: report.report,
    }


if __name__ == "__main__":
    sys.exit(main())

"""Measure the package against a plain implementation, and print the results.

    python -m benchmarks                    all of them: about half an hour on two cores
    python -m benchmarks cells --editors rome,grace --edits 10
    python -m benchmarks cells --backbone DIR --data-dir DIR      CPU seconds on a model of yours
    python -m benchmarks growth --out benchmarks/results/growth.json
    python -m benchmarks structure          how the package is laid out; nothing is timed

Every ratio is between two sides measured in turn in one process. Times are meaningful on a quiet
machine only, and nothing here is a test.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from bench.cli.arguments import whole
from bench.core.console import warn
from bench.core.names import editor_keys
from bench.core.numerics import now
from benchmarks import backbone, cells, commands, growth, structure
from benchmarks.measure import Line, publish
from editors import registry

STRUCTURE = "structure"  # counted, not timed
Benchmark = Callable[[argparse.Namespace], Iterator[Line]]
BENCHMARKS: dict[str, Benchmark] = {
    cells.NAME: lambda args: (
        backbone.lines(args) if args.backbone else cells.cells(args.editors, args.edits)
    ),
    cells.LADDER: lambda _: cells.ladder(),
    growth.NAME: lambda _: growth.growth(),
    cells.REPOSITORIES: lambda _: cells.repositories(),
    commands.STARTUP: lambda _: commands.startup(),
    commands.TABLE1: lambda _: commands.table1(),
    commands.REPORT: lambda _: commands.report(),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0, 1 where two sides did not do the same work, or 2 where one could not."""
    if (sys.argv[1:] if arguments is None else list(arguments)) == [STRUCTURE]:
        return structure.main()
    args = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of processes that are started
    started = now()
    lines: list[Line] = []
    try:
        for name in args.benchmarks or BENCHMARKS:
            warn(f"{name} ...")
            for line in BENCHMARKS[name](args):
                warn(f"  {line.subject}: {line.figure}: {line.ours:.3g}")
                lines.append(line)
    except cells.DifferentScoresError as error:
        warn(f"error: {error}")
        return 1
    except (OSError, ValueError) as error:
        warn(f"error: {error}")
        return 2
    finally:
        publish(lines, args.out, started=started)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "benchmarks",
        nargs="*",
        choices=tuple(BENCHMARKS),
        metavar="NAME",
        help=", ".join(BENCHMARKS),
    )
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
    parser.add_argument("--backbone", metavar="DIR", help="of `cells`: another model's")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="with --backbone: counterfact-edit.json's"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the lines as JSON too")
    return parser


def _editors(text: str) -> list[str]:
    try:
        return [registry.describe(name).key for name in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())

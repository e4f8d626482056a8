"""The `plan` command: what a run would take, before anything is loaded."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import add_groups, config_of
from bench.cli.options import SELECTION
from bench.cli.showing import print_markdown, print_text
from bench.core.console import say
from bench.core.files import write_text
from bench.core.grids import get_table
from bench.runner.kinds import task_limit
from bench.runner.planning import check_hparams, hparam_changes, points

if TYPE_CHECKING:
    from argparse import _SubParsersAction

EXAMPLES = """examples:
  python -m bench plan --table 1 --preset paper
      hours, GPU memory and disk of Table 1 on LLaMA-2-7B, by editor
  python -m bench plan --table 1 --preset paper --edits 1,10 --limit 100 --gpu-memory 24
      a part of it, on a GPU of 24 GiB
  python -m bench plan --table 5 --preset paper --dtype bfloat16 --json plan.json
      GPT-J-6B in half precision, the numbers to a file
  python -m bench plan --table 1 --backbone path/to/model --data-dir RECIPE
      any model with a config.json; weights need not be there

It takes the arguments of `run`. The assumptions are above the table and in bench/runner/costs/.
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `plan`."""
    parser = subparsers.add_parser(
        "plan",
        help="estimate hours, memory and disk of a run",
        description="Estimate cells, edits, hours, GPU memory and disk of a run, from "
        "configurations alone: no model, no data, no weights are loaded.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_groups(parser, SELECTION)
    how = parser.add_argument_group("the estimate")
    how.add_argument(
        "--gpu-memory",
        type=_positive,
        metavar="GIB",
        help="compare with a GPU of this size (default: the one at hand, else 24, 40 and 80)",
    )
    how.add_argument(
        "--tflops",
        type=_positive,
        metavar="N",
        help="sustained TFLOP/s of training and statistics (default: 10 in float32, 60 in half "
        "precision)",
    )
    how.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    how.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to FILE")
    parser.set_defaults(func=plan)


def plan(args: argparse.Namespace) -> int:
    """Exit code 0."""
    config = config_of(args)
    table, chosen = get_table(config.table), points(config)
    if config.measure:
        raise ValueError("plan has no estimate of metric sets; leave --measure out.")
    changes = hparam_changes(config)
    check_hparams(chosen, changes)

    from bench.runner.costs.estimate import Request, estimate
    from bench.runner.costs.layout import gpu_memory, layout, to_json

    limit = task_limit(config) if table.measures == "general_ability" else None
    request = Request(
        table=table,
        points=chosen,
        config=config,
        changes=changes,
        task_limit=limit,
        teraflops=args.tflops,
    )
    rows, memory = estimate(request), gpu_memory(args.gpu_memory)
    (print_markdown if args.markdown else print_text)(layout(request, rows, memory))
    if args.json:
        say(f"written: {write_text(args.json, to_json(request, rows, memory))}")
    return 0


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}.")
    return value

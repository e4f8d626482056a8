"""The `run` command: a table's cells, computed where they are not stored yet, then the table."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bench.cli.arguments import add_command, add_groups, config_of
from bench.cli.options import RUNNING, SELECTION
from bench.cli.showing import show_measures, show_table
from bench.core.config import RunConfig
from bench.core.console import say, warn
from bench.core.grids import GridPoint, get_table
from bench.core.numerics import fixed_arithmetic
from bench.evaluation.record_kinds import identity_of
from bench.runner.observers import Display, Ending, Observer, json_events
from bench.runner.planning import Planner, points
from bench.runner.run import Ran
from bench.runner.run import run as run_cells
from bench.store.results import failure_of

if TYPE_CHECKING:
    from argparse import _SubParsersAction

EXAMPLES = """examples:
  python -m bench run --table 1
      Table 1 on the shipped miniature backbone: minutes on two cores, no download
  python -m bench run --table 1 --editors ft,rome --datasets cf --edits 1,10 --n-seeds 5
      part of the table, mean and spread over five seeds
  python -m bench run --table 1 --editors grace,lte --hparam grace.mode=easyedit
      another mode than the preset's; the caption names it
  python -m bench run --table 1 --measure retention,collapse --edits 100
      further metric sets, with records and tables of their own
  python -m bench run --table 1 --with-recent --edits 1,10
      editors of later papers below the paper's own
  python -m bench run --table 2 --editors recipe,grace,lte --edits 100
      general ability after 100 edits, beside that of the unedited model
  python -m bench run --table 1 --datasets cf --data-dir DATA --backbone path/to/model
      a real data set on any local Hugging Face model of a known architecture

The same command continues where it stopped, and only prints the table when all is done. Ctrl-C
stops after the present edit and writes a checkpoint; a killed run repeats the edits of its last
half minute. Several runs, on one machine or many, share a table's cells where --out is one folder.
"""
COMMON = (
    "table", "preset", "backbone", "editors", "datasets", "edits", "n_seeds", "limit", "metrics",
    "hparam", "data_dir", "device", "dtype", "out", "overwrite", "retry_failed", "dry_run", "jobs",
)  # fmt: skip
# What `--log-json` reports of the selection, by the options' names.
SELECTING = (
    *("table", "preset", "backbone", "editors", "with_recent", "datasets", "edits", "limit"),
    *("metrics", "measure", "measure_text", "scoring", "harness", "task_limit", "ability_dir"),
    *("hparam", "index"),
    *("generation_prompt", "weights", "data_dir", "world_seed", "corpus", "documents", "encoder"),
    *("device", "device_map", "dtype", "out", "seeds", "n_seeds"),
)


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `run`."""
    parser = add_command(
        subparsers,
        "run",
        summary="run the cells of a table and print it",
        description="Run the cells of a table that have no record yet, then print and write it.",
        examples=EXAMPLES,
        common=COMMON,
    )
    add_groups(parser, SELECTION | RUNNING)
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0, 1 where a cell failed, or 130 or 143 where a signal stopped it."""
    config = config_of(args)
    if args.dry_run:
        lines = list(_listed(config))
        for line in (*lines, f"{len(lines)} cells"):
            say(line)
        return 0
    with fixed_arithmetic(wanted=config.options.deterministic):
        if args.log_json is None:
            return _run(config, [Display()]).exit_code
        with json_events(args.log_json, _selection(args)) as events:
            events.ending = _run(config, [Display(), events])
            return events.ending.exit_code


def _run(config: RunConfig, observers: Sequence[Observer]) -> Ending:
    ran = run_cells(config, observers)
    if ran.submitted:
        say(f"submitted: {ran.todo} cells to Slurm, jobs {', '.join(ran.submitted)}")
        say("`python -m bench tables` with the same selection shows what there is;")
        say("the same command without --detach computes what is missing, and waits.")
        return Ending(exit_code=0)
    if ran.exit_code is not None:
        return Ending(exit_code=ran.exit_code)
    written = show_table(ran.table, ran.cells, ran.complete, config.tables)
    written += show_measures(ran.table, ran.cells, ran.complete, config)
    _report_failures(ran)
    _hint(config, ran)
    return Ending(exit_code=int(bool(ran.failed)), failed=len(ran.failed), written=written)


def _report_failures(ran: Ran) -> None:
    """Name the cells that failed, now or earlier."""
    for record in ran.failed:
        warn(f"failed: {identity_of(record['cell']).describe()}: {failure_of(record)}")
    if ran.failed:
        warn(
            f"error: {len(ran.failed)} of {len(ran.cells)} cells failed; their records in "
            f"{ran.store.directory} hold the tracebacks (python -m bench results show KEY). The "
            "same command does not run them again; with --retry-failed it does."
        )


def _hint(config: RunConfig, ran: Ran) -> None:
    """What could follow."""
    if ran.table.measures in ("editing", "ablation") and len(config.named_seeds) == 1:
        warn("next: the same command with --n-seeds 5  # means and spreads over five seeds")
    records = shlex.quote(str(config.records))
    warn(f"next: python -m bench report --from {records}  # a page of all results")


def _listed(config: RunConfig) -> Iterator[str]:
    """One line for each cell, and for the unedited model where it has cells of its own."""
    chosen, measures = points(config), get_table(config.table).measures
    Planner(config).check_hparams(chosen, installed=True)
    if measures in ("general_ability", "times"):
        backbones = dict.fromkeys(point.backbone for point in chosen)
        yield from (f"{backbone}  unedited" for backbone in backbones)
        yield from map(_line, chosen)
        return
    for point in chosen:
        limit = "all" if point.limit is None else f"{point.limit:,}"
        yield f"{_line(point)}  samples {limit}"


def _line(point: GridPoint) -> str:
    variant = "" if point.variant is None else f" ({point.variant})"
    return (
        f"{point.backbone}  {point.editor}{variant}  {point.dataset}  edits {point.n_edits:,}  "
        f"seed {point.seed}"
    )


def _selection(args: argparse.Namespace) -> dict[str, Any]:
    """The options that select cells, as plain JSON values."""
    given = {name: vars(args)[name] for name in SELECTING}
    return {name: _plain(value) for name, value in given.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) else str(value)

"""What to run next: one or two commands that make sense behind a finished run."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from bench.core.grids import Measured
from bench.store.reference import has_reference
from bench.tables.significance import FAVOURITE

MOST = 2
SEEDS = 5  # as many as the paper and our references have
# Arguments of `run` that say which cells, by name.
SELECTING = (
    *("table", "preset", "backbone", "editors", "with_recent", "datasets", "edits", "limit"),
    *("metrics", "measure", "measure_text", "scoring", "harness", "task_limit", "ability_dir"),
    *("hparam", "index"),
    *("generation_prompt", "weights", "data_dir", "world_seed", "corpus", "documents", "encoder"),
    *("device", "device_map", "dtype", "out"),
)
SEEDING = ("seeds", "n_seeds")
# And those that say where they are computed.
_WHERE = (
    *("executor", "jobs", "ray_address", "gpus_per_cell", "slurm_workers", "slurm_partition"),
    *("slurm_time", "slurm_gpus", "slurm_option", "slurm_folder", "slurm_cluster"),
)
_COMMAND = re.compile("`(python -m bench [^`]+)`")


@dataclass(frozen=True, kw_only=True)
class Done:
    """A run that is over."""

    args: argparse.Namespace  # of `run`
    defaults: argparse.Namespace  # of `run` without any option
    measures: Measured  # of its table
    seeds: int  # that each cell has
    more_seeds: bool  # whether the first five seeds are not all there
    comparable: bool  # whether there are the editor that is tested and others
    failed: int = 0  # cells
    left_out: Sequence[str] = ()  # why, in sentences that name what makes them possible
    commands: Collection[str] = ()  # that this version has


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command, and what it is good for."""

    command: str
    what: str


def next_steps(done: Done) -> list[Step]:
    """The steps, the most wanted first; none that would do nothing."""
    return [step for _, step in zip(range(MOST), _steps(done), strict=False)]


def _steps(done: Done) -> Iterator[Step]:
    if done.failed:
        again = _run(done, "--retry-failed", (*SELECTING, *SEEDING, *_WHERE))
        yield Step(command=again, what="runs the failed cells again")
    for command in dict.fromkeys(_COMMAND.findall(" ".join(done.left_out))):
        yield Step(command=command, what="makes what was left out possible")
    if done.measures in ("editing", "ablation") and done.more_seeds and not done.failed:
        yield Step(
            command=_run(done, f"--n-seeds {SEEDS}", (*SELECTING, *_WHERE)),
            what=f"means and spreads over {SEEDS} seeds",
        )
    if "report" in done.commands:
        yield Step(command=_with_place("report", done, "--from"), what="a page of all results")
    yield from _looks(done)


def _looks(done: Done) -> Iterator[Step]:
    """What reads records, and computes none but for a check of references."""
    if _can_be_tested(done):
        yield Step(
            command=_run(done, "--significance", (*SELECTING, *SEEDING), command="tables"),
            what=f"tests {FAVOURITE} against the others",
        )
    if done.measures == "editing" and _is_usual(done) and has_reference(f"table{done.args.table}"):
        yield Step(
            command=f"python -m bench check --against reference --table {done.args.table}",
            what="runs a part of the committed reference again",
        )
    yield Step(command=_with_place("results list", done, "--out"), what="the records, one a line")


def _can_be_tested(done: Done) -> bool:
    """Whether there is something to test; tables of metric sets have no such view."""
    whole = done.seeds >= 2 and done.comparable and not done.failed
    return done.measures == "editing" and whole and not done.args.measure


def _is_usual(done: Done) -> bool:
    """Whether the run was of what the references are of."""
    given = done.args
    return given.preset == "embedded" and given.data_dir is None and given.world_seed == 0


def _with_place(command: str, done: Done, option: str) -> str:
    """A command about the records of a run; its own default is `results`."""
    out = done.args.out
    if option == "--from":
        return f"python -m bench {command} {option} {shlex.quote(str(out or 'results'))}"
    return f"python -m bench {command}" + (f" {option} {shlex.quote(str(out))}" if out else "")


def _run(done: Done, more: str, names: Sequence[str], *, command: str = "run") -> str:
    """What was run, with something more."""
    words = ["python", "-m", "bench", command]
    for name in names:
        words += _option(name, vars(done.args).get(name), vars(done.defaults).get(name))
    return f"{shlex.join(words)} {more}"


def _option(name: str, value: object, default: object) -> list[str]:
    """An option with its value, where that is not the usual one; the table is always named."""
    if name != "table" and (value is None or value is False or value == default):
        return []
    if value is True:
        return [_flag(name)]
    if isinstance(value, list):
        return [word for one in value for word in (_flag(name), _one(one))]
    shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return [_flag(name), shown]


def _one(value: object) -> str:
    """One of the values of an option that may be repeated; a pair is NAME=VALUE."""
    if not isinstance(value, tuple):
        return str(value)
    name, given = value
    return f"{name}={given if isinstance(given, str) else json.dumps(given)}"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"

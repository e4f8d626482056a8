"""The options that say on which machines cells run, and the executor that they describe."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli.values import one_of, whole

if TYPE_CHECKING:
    from bench.runner.executors.base import Executor
    from bench.runner.executors.slurm_jobs import SlurmExecutor

EXECUTORS = ("local", "ray", "slurm")
CLUSTERS = ("local", "debug", "slurm")  # of submitit; two of them are for trying things out
_OF = {  # which executor an option is of; all of them have no default
    "ray_address": "ray",
    "gpus_per_cell": "ray",
    "slurm_workers": "slurm",
    "slurm_partition": "slurm",
    "slurm_time": "slurm",
    "slurm_gpus": "slurm",
    "slurm_option": "slurm",
    "slurm_folder": "slurm",
    "slurm_cluster": "slurm",
    "detach": "slurm",
}


def add_where(parser: argparse.ArgumentParser) -> None:
    """The options of all executors."""
    where = parser.add_argument_group("on which machines")
    where.add_argument(
        "--executor",
        type=one_of("executor", EXECUTORS),
        default="local",
        help="local (processes of this machine; the default), ray (tasks of a Ray cluster) or "
        "slurm (Slurm jobs, through submitit); records go to one directory that all machines see",
    )
    where.add_argument(
        "--jobs",
        type=whole(1),
        metavar="N",
        help="worker processes of one thread each, or cores of a Ray that is started here "
        "(default: the CPU cores, 1 on a GPU)",
    )
    _add_ray(where)
    _add_slurm(where)


def _add_ray(where: argparse._ArgumentGroup) -> None:
    where.add_argument(
        "--ray-address",
        metavar="ADDR",
        help="a running cluster: HOST:PORT, or auto for this machine's (default: RAY_ADDRESS, "
        "else Ray is started here)",
    )
    where.add_argument(
        "--gpus-per-cell",
        type=_share,
        metavar="F",
        help="of a cell on a GPU; 0.5 lets two share one (default: 1)",
    )


def _add_slurm(where: argparse._ArgumentGroup) -> None:
    where.add_argument(
        "--slurm-workers", type=whole(1), metavar="K", help="jobs that share the cells (default: 1)"
    )
    where.add_argument("--slurm-partition", metavar="P", help="default: Slurm's")
    where.add_argument(
        "--slurm-time",
        type=whole(1),
        metavar="MIN",
        help="minutes of a job, which is queued again when they are over (default: 240)",
    )
    where.add_argument(
        "--slurm-gpus",
        type=whole(0),
        metavar="G",
        help="GPUs of a job (default: 1 where cells run on a GPU, else 0)",
    )
    where.add_argument(
        "--slurm-option",
        type=_option,
        action="append",
        metavar="NAME=VALUE",
        help="another option of sbatch, such as account=lab or mem=32GB; may be repeated",
    )
    where.add_argument(
        "--slurm-folder",
        type=Path,
        metavar="DIR",
        help="the jobs' files and logs; all machines must see it (default: slurm)",
    )
    where.add_argument("--slurm-cluster", type=one_of("cluster", CLUSTERS), help=argparse.SUPPRESS)
    where.add_argument(
        "--detach",
        action="store_true",
        default=None,
        help="with slurm: submit and return; the same command watches or continues",
    )


def executor_of(args: argparse.Namespace, *, device: str, alone: bool) -> Executor:
    """The executor that was asked for.

    Args:
        args: of the command line.
        device: of the cells.
        alone: cells must not run beside each other, since they measure times.

    Raises:
        ValueError: options that do not go together, or a library that is not installed.
    """
    _check(args)
    if args.executor == "ray":
        if alone:
            raise ValueError(
                "Ray runs cells beside each other, which would disturb the times that this table "
                "measures; take --executor local, or slurm, which gives it one job."
            )
        return _ray(args)
    if args.executor == "slurm":
        return slurm_of(args, device=device, alone=alone)
    from bench.runner.executors.local import LocalExecutor

    return LocalExecutor(1 if alone else args.jobs)


def slurm_of(args: argparse.Namespace, *, device: str, alone: bool) -> SlurmExecutor:
    """The Slurm jobs that were asked for; see `executor_of`."""
    from bench.runner.executors.slurm_jobs import FOLDER, SlurmExecutor, Wanted

    gpus = args.slurm_gpus
    if gpus is None:
        gpus = 1 if device.startswith("cuda") else 0
    wanted = Wanted(
        workers=1 if alone else args.slurm_workers or 1,
        minutes=args.slurm_time or Wanted.minutes,
        partition=args.slurm_partition,
        gpus=gpus,
        options=dict(args.slurm_option or ()),
    )
    return SlurmExecutor(wanted, folder=args.slurm_folder or FOLDER, cluster=args.slurm_cluster)


def _ray(args: argparse.Namespace) -> Executor:
    from bench.runner.executors.ray_cluster import RayExecutor

    return RayExecutor(
        address=args.ray_address, cpus=args.jobs, gpus_per_cell=args.gpus_per_cell or 1.0
    )


def _check(args: argparse.Namespace) -> None:
    """Refuse options of another executor than the one that was chosen."""
    given = vars(args)
    for name, executor in _OF.items():
        if given[name] is not None and executor != args.executor:
            raise ValueError(
                f"--{name.replace('_', '-')} goes with --executor {executor}, got --executor "
                f"{args.executor}."
            )
    if args.jobs is not None and args.executor == "slurm":
        raise ValueError("--jobs counts processes of this machine; with slurm: --slurm-workers.")


def _share(text: str) -> float:
    """A number of GPUs: a fraction of one, or a whole number of them."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (0 < value <= 1 or (value > 1 and value.is_integer())):
        raise argparse.ArgumentTypeError(
            f"expected a fraction of one GPU or a whole number of them, got {text!r}."
        )
    return value


def _option(text: str) -> tuple[str, Any]:
    """(name, value) of an option of sbatch; a value that is no JSON is taken as a string."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}.")
    try:
        return name.lstrip("-"), json.loads(value)
    except ValueError:
        return name.lstrip("-"), value

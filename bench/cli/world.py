"""The `world` command: build a seed's miniature models, verify them, write and audit its data."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import Option, add
from bench.core.console import say
from bench.core.names import CONTROL, MODELS, unknown_name
from bench.core.progress import show_busy
from bench.world.world import DEFAULT_SEED

if TYPE_CHECKING:
    from bench.world.training.recall import Score


def add_world(actions: Mapping[str, argparse.ArgumentParser]) -> None:
    """The arguments of the actions of `world`."""
    functions = {"build": _build, "verify": _verify, "write": _write, "audit": _audit}
    for action, func in functions.items():
        add(actions[action], Option("--seed", "N", "of the world", int, DEFAULT_SEED))
        actions[action].set_defaults(func=func)
    every = ",".join(MODELS)
    text = (
        f"default: {every}; {CONTROL} is mini-llama without documents that teach reading a context"
    )
    noise = "do not start another seed's backbone from the shipped one"
    add(
        actions["build"],
        Option("--models", "NAMES", text, default=every),
        Option("--out", "DIR", "default: where the package looks", Path),
        Option("--device", "NAME", "default: cpu", default="cpu"),
        Option("--from-noise", "", noise),
    )
    text = "default: mini-llama"
    add(actions["verify"], Option("--backbone", "NAME", text, default="mini-llama"))
    actions["write"].add_argument("directory", type=Path, metavar="DIR")
    text = "real data files (default: those of the embedded world)"
    add(actions["audit"], Option("--data-dir", "DIR", text, Path))


def _build(args: argparse.Namespace) -> int:
    from bench.checks.world import verify
    from bench.models.backbones import at_directory, load
    from bench.world.store import data_dir
    from bench.world.training.build import build

    names = tuple(args.models.split(","))
    for name in names:
        if name not in (*MODELS, CONTROL):
            raise unknown_name("model", name, (*MODELS, CONTROL))
    out = build(
        args.seed, names, out=args.out, device=args.device, from_noise=args.from_noise,
        load=lambda path: load(at_directory(path, name=path.name)),
        measure=lambda lm, world: verify(lm, world, data_dir(world.seed)),
    )  # fmt: skip
    say(f"Built {', '.join(names)} of world {args.seed} in {out}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from bench.checks.world import verify
    from bench.models.backbones import load, locate
    from bench.world.store import data_dir
    from bench.world.world import World

    lm = load(locate(args.backbone, world_seed=args.seed))
    failed = 0
    for score in verify(lm, World(args.seed), data_dir(args.seed)):
        say(_line(score))
        failed += not score.passed
    say(f"{failed} below their threshold" if failed else "all thresholds met")
    return 1 if failed else 0


def _line(score: Score) -> str:
    needed = "" if score.needed is None else f"  (needs {100 * score.needed:.0f})"
    mark = " " if score.needed is None else ("+" if score.passed else "!")
    return f"{mark} {score.name:55s} {100 * score.value:6.2f}{needed}"


def _write(args: argparse.Namespace) -> int:
    from bench.world.files import write_all
    from bench.world.store import make_directory

    if args.directory.exists():
        raise ValueError(f"{args.directory} exists already; give a new directory.")
    with show_busy(f"writing the data of world {args.seed}"):
        make_directory(args.directory, lambda part: write_all(args.seed, part))
    say(f"Wrote the data files of world {args.seed} to {args.directory}")
    return 0


def _audit(args: argparse.Namespace) -> int:
    from rich.table import Table

    from bench.checks.world import overlaps
    from bench.core.console import show
    from bench.world.store import data_dir

    shares: dict[tuple[str, str], dict[str, float]] = {}
    for overlap in overlaps(args.data_dir or data_dir(args.seed)):
        shares.setdefault((overlap.texts, overlap.others), {})[overlap.dataset] = overlap.percent
    labels = list(dict.fromkeys(label for row in shares.values() for label in row))
    table = Table("percent of the test file's", "that are also")
    for label in labels:
        table.add_column(label, justify="right")
    for (texts, others), row in shares.items():
        table.add_row(texts, others, *(f"{row[label]:.1f}" for label in labels))
    show(table)
    return 0

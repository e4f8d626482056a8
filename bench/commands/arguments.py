"""Arguments that several commands share, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import get_args

from bench.backbones import DTYPES, EMBEDDED, HUB_IDS
from bench.cell import Generation
from bench.grids import DATASETS, PRESETS, TABLES, Selection
from bench.names import unknown_name
from bench.planning import Settings

RESULTS, TABLES_FOLDER = Path("results"), Path("tables")
METRICS = ("all", "teacher_forced")
GENERATION_PROMPTS = tuple(name for name in get_args(Generation) if name != "none")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which cells of which table, on what."""
    cells = parser.add_argument_group("which cells")
    cells.add_argument(
        "--table", type=whole(1), default=1, metavar="N", help=f"one of {_listed(TABLES)}"
    )
    cells.add_argument(
        "--preset",
        type=_one_of("preset", PRESETS),
        default="embedded",
        help="embedded (shipped miniature backbones and made data; the default) or paper "
        "(the real backbones and data sets, on a GPU)",
    )
    cells.add_argument(
        "--backbone",
        metavar="NAME|PATH",
        help=f"one of {_listed((*EMBEDDED, *HUB_IDS))}, or a local Hugging Face model directory",
    )
    cells.add_argument("--editors", type=_names, metavar="A,B", help="default: all there are")
    cells.add_argument(
        "--datasets", type=_names, metavar="A,B", help=f"default: {_listed(DATASETS)}"
    )
    cells.add_argument(
        "--edits", type=_counts(1), metavar="N,M", help="numbers of sequential edits"
    )
    seeds = cells.add_mutually_exclusive_group()
    seeds.add_argument("--seeds", type=_counts(0), metavar="S,T", help="default: 0")
    seeds.add_argument("--n-seeds", type=whole(1), metavar="N", help="seeds 0 to N-1")
    cells.add_argument(
        "--limit",
        type=whole(1),
        metavar="N",
        help="samples drawn per cell (default: 20/50/100/1000/10000 at 1/10/100/1000/10000 edits "
        "in the embedded preset, all in the paper preset)",
    )
    cells.add_argument(
        "--metrics",
        type=_one_of("metrics", METRICS),
        default="all",
        help="all (the default) or teacher_forced, which skips generation",
    )
    cells.add_argument(
        "--generation-prompt",
        type=_one_of("generation prompt", GENERATION_PROMPTS),
        default="context_free",
        help="context_free (the bare prompt; the default) or context_guided (an instruction "
        "in front)",
    )
    _add_places(parser)


def selection(args: argparse.Namespace, seeds: tuple[int, ...] = (0,)) -> Selection:
    """The cells asked for; `seeds` where none are named."""
    chosen = tuple(range(args.n_seeds)) if args.n_seeds else args.seeds
    return Selection(
        preset=args.preset,
        backbone=args.backbone,
        editors=args.editors,
        datasets=args.datasets,
        edits=args.edits,
        seeds=tuple(dict.fromkeys(chosen or seeds)),
        limit=args.limit,
    )


def settings(args: argparse.Namespace) -> Settings:
    """What holds for the whole run."""
    return Settings(
        preset=args.preset,
        world_seed=args.world_seed,
        data_dir=args.data_dir,
        dtype=args.dtype,
        device=args.device or ("cuda" if args.preset == "paper" else "cpu"),
        generation="none" if args.metrics == "teacher_forced" else args.generation_prompt,
    )


def records_directory(args: argparse.Namespace) -> Path:
    """Where records are."""
    return args.out or RESULTS


def tables_directory(args: argparse.Namespace) -> Path:
    """Where tables go: beside the records when a place for these is named."""
    return args.out / "tables" if args.out else TABLES_FOLDER


def whole(least: int) -> Callable[[str], int]:
    """A reader of a whole number that is at least `least`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(
                f"expected a whole number of at least {least}, got {text!r}."
            )
        return value

    return read


def _add_places(parser: argparse.ArgumentParser) -> None:
    places = parser.add_argument_group("from where, on what, to where")
    places.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="real data files, instead of made ones"
    )
    places.add_argument(
        "--world-seed", type=whole(0), default=0, metavar="N", help="which made world (default 0)"
    )
    places.add_argument(
        "--device", help="cpu, cuda, cuda:N (default: cpu embedded, cuda for the paper preset)"
    )
    places.add_argument("--dtype", type=_one_of("dtype", DTYPES), default="float32")
    places.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="records to DIR and tables to DIR/tables (default: results and tables)",
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise argparse.ArgumentTypeError("expected names separated by commas, got none.")
    return names


def _counts(least: int) -> Callable[[str], tuple[int, ...]]:
    """A reader of whole numbers separated by commas."""
    one = whole(least)
    return lambda text: tuple(one(part) for part in _names(text))


def _one_of(kind: str, choices: Iterable[str]) -> Callable[[str], str]:
    """A reader of one of a few names."""
    allowed = tuple(choices)

    def read(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(str(unknown_name(kind, text, allowed)))
        return text

    return read


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))

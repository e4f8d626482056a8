"""The `figures` command: figures from stored records only; Figure 4's data from models."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import options
from bench.cli.arguments import add, whole
from bench.core.console import say, warn
from bench.core.names import in_paper
from bench.datasets.plugins import is_own
from bench.models.backbones import EMBEDDED
from bench.report.plots import FIGURES, resolve
from bench.store.query import records_of_protocol
from bench.store.reference import FIGURE_3, MAP, reference_folder

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from bench.report.plots.drawing import Drawing, Source
    from bench.store.results import Record

ALL = "all"
OUT = Path("figures")
COMMITTED = "tables/reference"  # as messages name it

EXAMPLES = """examples:
  python -m bench figures
      every figure that the committed records can show, in figures/
  python -m bench figures --figure edits --from results
      all editors against the number of edits, of the records that `run` left in results/
  python -m bench figures --figure 3 --from results --edits 100
      Figure 3 after another number of edits than the paper's 1,000
  python -m bench figures --figure 4 --compute
      the data of Figure 4, from the models: minutes
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `figures`."""
    parser = subparsers.add_parser(
        "figures",
        help="draw figures from stored records",
        description="Draw figures from stored records, as PNG and SVG with their numbers as CSV.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("which figures")
    what.add_argument(
        "--figure",
        default=ALL,
        metavar="NAME",
        help=f"one of {', '.join(FIGURES)}, or all (the default)",
    )
    what.add_argument(
        "--backbone", default=EMBEDDED[0], metavar="NAME", help="default: %(default)s"
    )
    add(what, options.WITH_RECENT)
    what.add_argument(
        "--edits",
        type=whole(1),
        metavar="N",
        help="number of edits of figure 3 (default: 1,000) and of time and retention (default: "
        "the most that all editors have)",
    )
    what.add_argument(
        "--compute",
        action="store_true",
        help="compute the data of figure 4 instead of drawing it; needs the models and RECIPE's "
        "weights for each length",
    )
    what.add_argument(
        "--world-seed", type=whole(0), default=0, metavar="N",
        help="which embedded world, for --compute (default 0)",
    )  # fmt: skip
    places = parser.add_argument_group("from where, to where")
    places.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="DIR",
        help="records: a directory as `run` leaves it, or one with *.jsonl files of compact "
        f"records; without this, always the committed ones of {COMMITTED}",
    )
    places.add_argument(
        "--map", type=Path, metavar="FILE", help=f"data of figure 4 (default: {COMMITTED}/{MAP})"
    )
    places.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="with --figure 3, write its records without their rows, as JSON lines, instead of "
        f"drawing it: {COMMITTED}/{FIGURE_3}.jsonl is written this way",
    )
    places.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="default: %(default)s")
    add(parser, options.PROTOCOL)
    parser.set_defaults(func=figures)


def figures(args: argparse.Namespace) -> int:
    """Exit code 0, or 1 where some of all figures cannot be drawn; one that was named must be."""
    keys = list(FIGURES) if args.figure == ALL else [resolve(args.figure)]
    if args.compute:
        return _compute(args, keys)
    source = _source(args)
    if args.export is not None:
        return _export(args, keys, source)
    if len(keys) == 1:
        _write([_build(keys[0], source)], args.out)
        return 0
    drawings, missing = _build_all(keys, source)
    _write(drawings, args.out)
    for line in missing:
        warn(line)
    return 1 if missing else 0


def _compute(args: argparse.Namespace, keys: Sequence[str]) -> int:
    """Figure 4's data."""
    from bench.core.config import RunConfig
    from bench.core.progress import show_count
    from bench.report.prompt_map import MapSettings, compute
    from bench.tables.figure_data import write_map

    if keys != ["4"]:
        raise ValueError("--compute is for figure 4 alone: --figure 4 --compute.")
    config = RunConfig(backbone=args.backbone, world_seed=args.world_seed, metrics="teacher_forced")
    with show_count("maps", MapSettings().maps) as report_progress:
        data = compute(config, report_progress=report_progress)
    for length in data["missing"]:
        warn(
            f"no weights for prompts of {length} token{'s' * (length > 1)}; "
            f"python -m bench train --variant cpt={length} trains them."
        )
    say(f"written: {write_map(data, args.map or Path(COMMITTED) / MAP)}")
    return 0


def _export(args: argparse.Namespace, keys: Sequence[str], source: Source) -> int:
    """Figure 3's records."""
    from bench.store.reference import write_reference
    from bench.tables.figure_data import LENGTH_EDITS, recipe_by_length

    if keys != ["3"]:
        raise ValueError("--export is for figure 3 alone: --figure 3 --export FILE.")
    n_edits = source.edits or LENGTH_EDITS
    chosen = recipe_by_length(source.records(), source.backbone, n_edits)
    path = write_reference(args.export, chosen.records)
    say(f"written: {path}, {len(chosen.records):,} records")
    return 0


def _source(args: argparse.Namespace) -> Source:
    """Records and map, read when a figure first needs them."""
    from bench.report.plots.drawing import Source
    from bench.tables.figure_data import read_map, read_records

    return Source(
        records=cache(lambda: _chosen(read_records(args.source or reference_folder()), args)),
        prompt_map=cache(lambda: read_map(args.map or reference_folder() / MAP)),
        backbone=args.backbone,
        edits=args.edits,
    )


def _chosen(records: Iterable[Record], args: argparse.Namespace) -> list[Record]:
    """All records, or those of the paper's editors and of a user's own; of one protocol."""
    chosen = [
        record
        for record in records
        if args.with_recent
        or (key := record["cell"].get("editor")) is None
        or in_paper(key)
        or is_own(record)
    ]
    return chosen if args.protocol is None else records_of_protocol(chosen, args.protocol)


def _build(key: str, source: Source) -> Drawing:
    drawing: Drawing = import_module(FIGURES[key].module).build(source)
    return drawing


def _build_all(keys: Sequence[str], source: Source) -> tuple[list[Drawing], list[str]]:
    """What can be drawn, and why the rest cannot.

    Raises:
        ValueError: nothing can.
    """
    from bench.core.progress import counted

    drawings: list[Drawing] = []
    missing: dict[str, str] = {}
    for key in counted(keys, "figures", len(keys)):
        try:
            drawings.append(_build(key, source))
        except (ValueError, OSError) as error:
            missing[key] = str(error)
    if not drawings:
        raise ValueError("No figure can be drawn: " + " ".join(dict.fromkeys(missing.values())))
    return drawings, [f"no figure {key}: {reason}" for key, reason in missing.items()]


def _write(drawings: Sequence[Drawing], directory: Path) -> None:
    from bench.report.plots.drawing import write

    for drawing in drawings:
        paths = write(drawing, directory)
        for note in drawing.notes:
            warn(f"{drawing.stem}: {note}")
        say("written: " + ", ".join(str(path) for path in paths))

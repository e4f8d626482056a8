"""Figures, and a folder of web pages, from stored records: the commands `figures` and `report`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import (
    DATA_DIR,
    HARDWARE,
    PRESET,
    PROTOCOL,
    SENTENCE_ENCODER,
    WITH_RECENT,
    WORLD_SEED,
    Option,
    add,
    add_groups,
    config_of,
    whole,
)
from bench.core.console import say, warn
from bench.core.files import check_new
from bench.core.names import in_paper
from bench.datasets import is_own
from bench.models.backbones import EMBEDDED
from bench.report.plots import FIGURES, resolve
from bench.store.inventory import records_of_protocol
from bench.store.reference import FIGURE_3, MAP, reference_folder

if TYPE_CHECKING:
    from bench.report.plots.drawing import Drawing, Source
    from bench.store.results import Record

ALL = "all"
COMMITTED = "tables/reference"  # as messages name it
# fmt: off
FROM = Option(
    "--from", "DIR", "records: a directory as `run` leaves it, or one with *.jsonl files of "
    f"compact records; without this, always the committed ones of {COMMITTED}", Path, dest="source",
)
WHICH = (
    Option("--figure", "NAME", f"one of {', '.join(FIGURES)}, or all (the default)", default=ALL),
    Option("--backbone", "NAME|PATH", f"default: {EMBEDDED[0]}; with --compute that of the preset"),
    WITH_RECENT,
    Option("--edits", "N", "number of edits of figure 3 (default: 1,000) and of time and retention "
           "(default: the most that all editors have)", whole(1)),
)
COMPUTED = (
    Option("--compute", "", "compute the data of figure 4 instead of drawing it; needs the models "
           "and RECIPE's weights for each length"),
    PRESET, DATA_DIR, WORLD_SEED, SENTENCE_ENCODER, *HARDWARE,
)
PLACES = (
    Option("--map", "FILE", f"data of figure 4 (default: {COMMITTED}/{MAP}, and {MAP} in --out "
           "for --compute); never overwritten", Path),
    Option("--export", "FILE", "with --figure 3, write its records without their rows, as JSON "
           f"lines, to a new file, instead of drawing it; {COMMITTED}/{FIGURE_3}.jsonl is one",
           Path),
    Option("--out", "DIR", "default: figures", Path, Path("figures")),
)
# fmt: on


def add_figures(parser: argparse.ArgumentParser) -> None:
    """The arguments of `figures`."""
    add_groups(
        parser,
        {
            "which figures": WHICH,
            "from where, to where": (FROM, *PLACES),
            "data of figure 4, computed": COMPUTED,
        },
    )
    add(parser, PROTOCOL)
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
    from bench.core.progress import show_count
    from bench.report.prompt_map import MapSettings, compute
    from bench.tables.figure_data import write_map

    if keys != ["4"]:
        raise ValueError("--compute is for figure 4 alone: --figure 4 --compute.")
    path = check_new(args.map or args.out / MAP)
    config = replace(config_of(args), metrics="teacher_forced", out=None)
    with show_count("maps", MapSettings().maps) as report_progress:
        data = compute(config, report_progress=report_progress)
    for length in data["missing"]:
        warn(
            f"no weights for prompts of {length} token{'s' * (length > 1)}; "
            f"python -m bench train --variant cpt={length} trains them."
        )
    say(f"written: {write_map(data, path)}; figures --figure 4 --map {path} draws it")
    return 0


def _export(args: argparse.Namespace, keys: Sequence[str], source: Source) -> int:
    """Figure 3's records."""
    from bench.store.reference import write_reference
    from bench.tables.figure_data import recipe_by_length

    if keys != ["3"]:
        raise ValueError("--export is for figure 3 alone: --figure 3 --export FILE.")
    chosen = recipe_by_length(source.records(), source.backbone, source.edits)
    path = write_reference(check_new(args.export), chosen.records)
    say(f"written: {path}, {len(chosen.records):,} records")
    return 0


def _source(args: argparse.Namespace) -> Source:
    """Records and map, read when a figure first needs them."""
    from bench.report.plots.drawing import Source
    from bench.tables.figure_data import read_map, read_records

    return Source(
        records=cache(lambda: _chosen(read_records(args.source or reference_folder()), args)),
        prompt_map=cache(lambda: read_map(args.map or reference_folder() / MAP)),
        backbone=args.backbone or EMBEDDED[0],
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
    drawing: Drawing = FIGURES[key].module().build(source)
    return drawing


def _build_all(keys: Sequence[str], source: Source) -> tuple[list[Drawing], list[str]]:
    """What can be drawn, and why the rest cannot.

    Raises:
        ValueError: nothing can that shows records.
    """
    from bench.core.progress import counted

    drawings: dict[str, Drawing] = {}
    missing: dict[str, str] = {}
    for key in counted(keys, "figures", len(keys)):
        try:
            drawings[key] = _build(key, source)
        except (ValueError, OSError) as error:
            missing[key] = str(error)
    if not any(FIGURES[key].of_records for key in drawings):
        raise ValueError("No figure can be drawn: " + " ".join(dict.fromkeys(missing.values())))
    lines = [f"no figure {key}: {reason}" for key, reason in missing.items()]
    return list(drawings.values()), lines


def _write(drawings: Sequence[Drawing], directory: Path) -> None:
    from bench.report.plots.drawing import write

    for drawing in drawings:
        paths = write(drawing, directory)
        for note in drawing.notes:
            warn(f"{drawing.stem}: {note}")
        say("written: " + ", ".join(str(path) for path in paths))


def add_report(parser: argparse.ArgumentParser) -> None:
    """The arguments of `report`."""
    add(parser, FROM, Option("--out", "DIR", "default: report/", Path, Path("report")))
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

"""What there is by name, and the files of data sets: the commands `list` and `data`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.console import columns, say, warn
from bench.core.grids import TABLES
from bench.core.names import RECENT, editor_keys
from bench.datasets import available, broken, get_dataset
from bench.datasets.base import SPLITS, EditDataset
from bench.datasets.download import RAW, Finding, fetch, verify
from bench.models.backbones import EMBEDDED, HUB_IDS
from bench.report.plots import FIGURES
from editors import registry

if TYPE_CHECKING:
    from argparse import _SubParsersAction

FETCH_HELP = """The files of the pinned revision, each verified by its git blob id. If interrupted,
the same command continues. Files that are already there are not fetched again.

The question sets of Table 2 are not included: `run --table 2 --preset paper` reads them from the
hub (tau/commonsense_qa, cais/mmlu, facebook/anli, rajpurkar/squad_v2), or from a directory
with --ability-dir.
"""
_HEADER = ("set", "split", "state", "rows", "published", "git blob", "file")


def add_data(parser: argparse.ArgumentParser) -> None:
    """The actions of `data`: fetch, verify, show."""
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    _add_fetch(commands)
    check = commands.add_parser(
        "verify",
        help="check presence, rows, fields and git blob ids of the files under a directory",
        description="Exit code 1 when a file is missing, unusable or different from the published "
        "one; a part of a set (fewer rows) is reported and accepted.",
    )
    check.add_argument("directory", type=Path, metavar="DIR", help="where the files are")
    check.add_argument(
        "--datasets",
        metavar="NAMES",
        default=",".join(available()),
        help="comma-separated data sets to check (default: %(default)s)",
    )
    check.set_defaults(func=run_verify)
    show = commands.add_parser("show", help="show a data set: source, revision, licence, files")
    show.add_argument("name", metavar="NAME", help=f"one of {', '.join(available())}, or an alias")
    show.set_defaults(func=run_show)


def _add_fetch(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser(
        "fetch",
        help="download the published files, verified by their git blob ids",
        description="Download the published files of data sets; the only command that uses the "
        "network for them.",
        epilog=FETCH_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(available())} (default: all)"
    )
    command.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="where the files go, as in their repository (default: RECIPE, that repository's name)",
    )
    command.add_argument(
        "--mirror",
        metavar="URL",
        default=RAW,
        help="https address that has OWNER/REPOSITORY/REVISION/PATH below it (default: GitHub's)",
    )
    command.set_defaults(func=run_fetch)


def run_fetch(args: argparse.Namespace) -> int:
    """Print one line for each file; exit code 0 if all of them are there."""
    datasets = [get_dataset(name) for name in args.names or available()]
    for file in fetch(datasets, args.to, mirror=args.mirror):
        say(f"{file.label}: {file.state}, verified: {file.path}")
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """Print one line for each file, then remarks; exit code 1 if something is wrong."""
    names = [name for name in args.datasets.split(",") if name.strip()]
    if not names:
        raise ValueError(f"No data set to check. Available: {', '.join(available())}.")
    findings = list(verify(map(get_dataset, names), args.directory))
    for line in columns([_HEADER, *map(_cells, findings)]):
        say(line)
    for finding in findings:
        for line in _remarks(finding):
            say(f"{finding.dataset} {finding.split}: {line}")
    return int(any(finding.wrong for finding in findings))


def run_show(args: argparse.Namespace) -> int:
    """Print the metadata of a data set."""
    say("\n".join(_description(get_dataset(args.name))))
    return 0


def _cells(finding: Finding) -> tuple[str, ...]:
    loaded = finding.loaded
    return (
        finding.dataset,
        finding.split,
        finding.state,
        f"{loaded.rows:,}" if loaded else "-",
        f"{finding.published_rows:,}",
        loaded.digest[:10] if loaded else "-",
        str(loaded.path) if loaded else "-",
    )


def _remarks(finding: Finding) -> Iterator[str]:
    if finding.state != "full":
        yield finding.detail
    if finding.loaded:
        yield from finding.loaded.notes()


def _description(dataset: EditDataset) -> Iterator[str]:
    yield f"{dataset.label} ({dataset.key}): {dataset.title}"
    if dataset.aliases:
        yield f"aliases:  {', '.join(dataset.aliases)}"
    yield f"source:   {dataset.source}"
    yield f"revision: {dataset.revision}"
    yield f"licence:  {dataset.licence}"
    yield f"cite:     {dataset.citation}"
    for split in SPLITS:
        file = dataset.files[split]
        yield f"{split + ':':<9} {file.path}, {file.rows:,} rows, git blob {file.git_blob}"
    yield f"get it:   python -m bench data fetch {dataset.key} --to DIR"
    yield (
        f"or:       git clone {dataset.source} && git -C {dataset.source.rpartition('/')[2]} "
        f"checkout {dataset.revision}"
    )
    yield "check it: python -m bench data verify DIR"


def add_list(parser: argparse.ArgumentParser) -> None:
    """`list` takes no arguments."""
    parser.set_defaults(func=run_list)


def run_list(_: argparse.Namespace) -> int:
    """Print one section per kind of name."""
    sections = {
        "editors (key, label, family, aliases)": map(_editor, editor_keys(recent=True)),
        "data sets (key, label, aliases)": map(_dataset, available()),
        "backbones": [(name, "embedded") for name in EMBEDDED]
        + [(name, f"hub: {place}") for name, place in HUB_IDS.items()],
        "tables": [(str(number), table.title) for number, table in TABLES.items()],
        "figures": [(name, figure.title) for name, figure in FIGURES.items()],
    }
    for heading, rows in sections.items():
        say(f"{heading}:")
        for line in columns(rows):
            say(f"  {line}")
    for sentence in (*registry.broken().values(), *broken().values()):
        warn(f"left out: {sentence}")
    return 0


def _editor(key: str) -> tuple[str, ...]:
    entry = registry.describe(key)
    notes = [*entry.aliases, *([] if entry.in_paper else [RECENT])]
    return key, entry.label, entry.family, ", ".join(notes)


def _dataset(key: str) -> tuple[str, ...]:
    dataset = get_dataset(key)
    return key, dataset.label, ", ".join(dataset.aliases)

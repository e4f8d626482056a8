"""What there is by name, and the files of data sets: the commands `list` and `data`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.cli.arguments import Option, add
from bench.core.console import columns, say, warn
from bench.core.grids import TABLES
from bench.core.names import DATASETS, RECENT, editor_keys
from bench.datasets import available, broken, get_dataset
from bench.datasets.base import EditDataset
from bench.datasets.download import RAW, Finding, by_hand, fetch, is_fetchable, verify
from bench.models import catalogue
from bench.models.backbones import EMBEDDED, HUB_IDS
from bench.report.plots import FIGURES
from editors import registry

_HEADER = ("set", "split", "state", "rows", "published", "git blob", "file")


def add_data(actions: Mapping[str, argparse.ArgumentParser]) -> None:
    """The arguments of the actions of `data`."""
    paper, listed = ",".join(DATASETS), ", ".join(available())
    fetching, verifying, showing = (actions[name] for name in ("fetch", "verify", "show"))
    fetching.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {listed} (default: {paper})"
    )
    place = "where the files go, as in their repository (default: a folder with its name)"
    mirror = "https address that has OWNER/REPOSITORY/REVISION/PATH below it (default: GitHub's)"
    add(
        fetching, Option("--to", "DIR", place, Path), Option("--mirror", "URL", mirror, default=RAW)
    )
    verifying.add_argument("directory", type=Path, metavar="DIR", help="where the files are")
    sets = f"comma-separated data sets to check (default: {paper})"
    add(verifying, Option("--datasets", "NAMES", sets, default=paper))
    showing.add_argument("name", metavar="NAME", help=f"one of {listed}, or an alias")
    fetching.set_defaults(func=run_fetch)
    verifying.set_defaults(func=run_verify)
    showing.set_defaults(func=run_show)


def run_fetch(args: argparse.Namespace) -> int:
    """Print one line for each file; exit code 0 if all of them are there."""
    datasets = [get_dataset(name) for name in args.names or DATASETS]
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
    for split, file in dataset.files.items():
        blob = f", git blob {file.git_blob}" if file.git_blob else ""
        yield f"{split + ':':<9} {file}, {file.rows:,} rows{blob}"
    ways = [f"python -m bench data fetch {dataset.key} --to DIR"] if is_fetchable(dataset) else []
    for name, way in zip(("get it:", "or:"), (*ways, by_hand(dataset)), strict=False):
        yield f"{name:<9} {way}"
    named = "" if dataset.key in DATASETS else f" --datasets {dataset.key}"
    yield f"check it: python -m bench data verify DIR{named}"


def add_list(parser: argparse.ArgumentParser) -> None:
    """`list` takes no arguments."""
    parser.set_defaults(func=run_list)


def run_list(_: argparse.Namespace) -> int:
    """Print one section per kind of name."""
    sections = {
        "editors (key, label, family, aliases)": map(_editor, editor_keys(recent=True)),
        "data sets (key, label, aliases)": map(_dataset, available()),
        "backbones": [(name, "embedded") for name in EMBEDDED]
        + [(name, "fetched by `models fetch`") for name in catalogue.names("backbone")]
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

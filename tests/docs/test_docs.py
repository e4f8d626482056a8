"""The documentation's commands are ones that the package takes, and its links lead somewhere."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import pytest

from bench.cli import arguments
from bench.cli import main as cli
from bench.cli.arguments import assignment
from bench.core.grids import variant
from bench.datasets import get_dataset
from bench.runner.planning import check_hparams, points
from editors import registry
from tests.support.pages import FENCE, HEADING, LINK, PAGES, ROOT, RUN, commands


def every_command(mark: str | None = None) -> list[Any]:
    return [
        pytest.param(command, id=f"{page.relative_to(ROOT)}: {' '.join(command)[:90]}")
        for page in PAGES
        for command in commands(page, mark)
    ]


def check_cells(args: argparse.Namespace) -> None:
    """What `run` and `tables` refuse before they read a file."""
    config = arguments.config_of(args)
    check_hparams(config, points(config))


def check_training(args: argparse.Namespace) -> None:
    """What `train` refuses before it reads a file."""
    from bench.models.training import trainable

    named = "recipe" if args.variant else args.editor
    if args.variant:
        variant(args.variant)
    trainable(named)
    for name in args.datasets:
        get_dataset(name)
    hparams = registry.hparams_for(named, args.backbone or "mini-llama")
    type(hparams).from_dict(hparams.to_dict() | dict(map(assignment, args.changes)))


CHECKS = {"run": check_cells, "tables": check_cells, "train": check_training}


@pytest.mark.parametrize("command", every_command())
def test_every_command_is_one_that_the_parser_and_the_selection_take(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)  # for paths of examples
    args = cli._parser(command).parse_args(command)
    CHECKS.get(args.command, lambda _: None)(args)


def test_the_commands_are_found() -> None:
    assert len(every_command()) > 70
    assert {command.values[0][0] for command in every_command()} == set(cli.COMMANDS)


@pytest.mark.parametrize("command", every_command(RUN))
def test_marked_commands_run(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(command) == 0
    assert capsys.readouterr().out


def anchors(page: Path) -> set[str]:
    """Names of a page's headings in links, as GitHub makes them."""
    headings = HEADING.findall(page.read_text("utf-8").lower())
    return {re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    for target in LINK.findall(text):
        place, _, anchor = target.partition("#")
        if place.startswith(("https://", "http://")):
            continue
        file = (page.parent / place).resolve() if place else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_the_index_has_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text("utf-8"))}
    wanted = {page for page in PAGES if page.is_relative_to(index.parent)} - {index}
    assert wanted <= linked


def test_marks_are_known_ones() -> None:
    known = {RUN, "<!-- table 1: begin -->"}
    known |= {f"<!-- example: {n} -->" for n in ("nudge", "places", "python", "frame", "by-hand")}
    for page in PAGES:
        blocks = FENCE.finditer(page.read_text("utf-8"))
        assert {block["mark"].strip() for block in blocks if block["mark"]} <= known, page

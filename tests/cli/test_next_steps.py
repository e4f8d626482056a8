"""What a finished run says to run next can be run, and would do something."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.cli import arguments
from bench.cli import main as cli
from bench.cli.ending import _are_comparable
from bench.cli.kinds import KINDS
from bench.cli.next_steps import MOST, SEEDS, Done, next_steps
from bench.cli.tables import _check_measures
from bench.cli.values import names
from bench.cli.where import add_where
from bench.core.grids import TABLES, Selection, get_table
from bench.models.resources import UntrainedEditorError
from bench.runner.planning import Settings, plan, points

UNTRAINED = UntrainedEditorError(
    "LTE has no trained weights for tiny in artefacts; "
    "`python -m bench train --editor lte --backbone tiny` makes them."
)


def done(words: str = "", **changes: Any) -> Done:
    command = ["run", *shlex.split(words)]
    args = cli._parser(command).parse_args(command)
    defaults = argparse.ArgumentParser()
    arguments.add_selection(defaults)
    add_where(defaults)
    facts: dict[str, Any] = {
        "args": args,
        "defaults": defaults.parse_args([]),
        "measures": get_table(args.table).measures,
        "seeds": len(arguments.selection(args).seeds),
        "more_seeds": True,
        "comparable": True,
    }
    return Done(**facts | changes)


def commands(found: Done) -> list[str]:
    return [step.command for step in next_steps(found)]


SELECTIONS = [
    "",
    "--editors ft,rome --datasets cf --edits 1,10 --n-seeds 5",
    "--editors grace,lte --hparam grace.mode=easyedit --hparam lte.threshold=0.3",
    "--with-recent --edits 1,10 --limit 20 --seeds 3,4",
    "--preset paper --data-dir 'a folder/RECIPE' --backbone gpt2-xl --device cuda:1",
    "--out 'runs/my records' --jobs 2 --executor ray --ray-address auto",
    "--executor slurm --slurm-option qos=high --slurm-option nice=1 --slurm-workers 4",
    "--index faiss --metrics teacher_forced --world-seed 2 --encoder some/dir --corpus text.txt",
    "--generation-prompt context_guided --documents 10 --device-map auto",
    "--table 2 --editors recipe,grace --edits 100 --scoring lm-eval --task-limit 100",
    "--table 2 --ability-dir sets",
    "--table 3 --weights random",
    "--table 4",
    "--table 5",
    "--table 6 --n-seeds 2",
    "--measure retention,collapse --measure-text text.txt --n-seeds 5",
]
SITUATIONS: dict[str, dict[str, Any]] = {
    "whole": {},
    "all seeds": {"more_seeds": False, "seeds": 5},
    "failed": {"failed": 3},
    "left out": {"left_out": [str(UNTRAINED)]},
    "report": {"more_seeds": False, "commands": ("run", "report")},
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_every_command_is_one_that_the_parser_takes(selection: str, situation: str) -> None:
    found = commands(done(selection, **SITUATIONS[situation]))
    assert 1 <= len(found) <= MOST
    for command in found:
        words = shlex.split(command)
        assert words[:3] == ["python", "-m", "bench"]
        if words[3] == "report" and "report" not in cli.COMMANDS:
            continue
        args = cli._parser(words[3:]).parse_args(words[3:])
        if words[3] in ("run", "tables"):
            same_cells(selection, args)


def same_cells(selection: str, args: argparse.Namespace) -> None:
    """Whether a command is about the run's cells, but for their seeds."""
    command = ["run", *shlex.split(selection)]
    first = cli._parser(command).parse_args(command)
    table = get_table(args.table)
    KINDS[table.measures].check(args)
    if "add" in args:  # of `tables`
        _check_measures(args)
    cells = []
    for one in (first, args):
        chosen = points(table, arguments.selection(one))
        cells.append({(p.backbone, p.editor, p.dataset, p.n_edits, p.limit) for p in chosen})
        assert arguments.settings(one) == arguments.settings(first)
        assert one.out == first.out
    assert cells[0] == cells[1]


def test_more_seeds_come_first_and_only_where_some_are_missing() -> None:
    assert commands(done("--editors ft"))[0] == (
        f"python -m bench run --table 1 --editors ft --n-seeds {SEEDS}"
    )
    assert "--n-seeds" not in " ".join(commands(done(more_seeds=False, seeds=5)))
    assert "--n-seeds" not in commands(done("--table 3"))[0]


def test_seeds_that_were_run_are_those_that_are_retried_and_tested() -> None:
    retry = commands(done("--editors ft --seeds 3,4 --jobs 2", failed=1))[0]
    assert retry == (
        "python -m bench run --table 1 --editors ft --seeds 3,4 --jobs 2 --retry-failed"
    )
    tested = commands(done("--n-seeds 5 --jobs 2", more_seeds=False))[0]
    assert tested == "python -m bench tables --table 1 --n-seeds 5 --significance"


def test_nothing_is_tested_that_cannot_be() -> None:
    for words, changes in (("", {"comparable": False}), ("--measure retention", {})):
        found = done(f"{words} --n-seeds 5", more_seeds=False, **changes)
        assert "--significance" not in " ".join(commands(found))


@pytest.mark.parametrize(
    ("editors", "comparable"), [("ft,rome", False), ("recipe", False), ("recipe,ft", True)]
)
def test_a_test_takes_recipe_and_another_editor(editors: str, *, comparable: bool) -> None:
    selection = Selection(editors=names(editors), datasets=("zsre",), edits=(1,), limit=1)
    cells = [job.cell for job in plan(points(get_table(1), selection), Settings())]
    assert _are_comparable(cells) == comparable


def test_what_was_left_out_is_made() -> None:
    found = commands(done(left_out=[str(UNTRAINED), str(UNTRAINED)]))
    assert found[0] == "python -m bench train --editor lte --backbone tiny"
    assert found[1].endswith("--n-seeds 5")


def test_a_report_is_named_where_there_is_that_command() -> None:
    with_it = done("--out runs/x", more_seeds=False, commands=("run", "report"))
    assert commands(with_it)[0] == "python -m bench report --from runs/x"
    assert "report" not in " ".join(commands(done("--out runs/x", more_seeds=False)))


@pytest.mark.parametrize("number", TABLES)
def test_references_are_checked_only_where_there_are_some(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cli.next_steps.has_reference", lambda _: False)
    assert "check" not in " ".join(commands(done(f"--table {number}", more_seeds=False)))


def test_the_namespace_has_the_commands_of_this_version(tmp_path: Path) -> None:
    args = cli._parser(["run"]).parse_args(["run"])
    assert tuple(args.commands) == tuple(cli.COMMANDS)

"""Names and help, at once and with nothing heavy loaded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.main import COMMANDS
from tests.cli.commands import Cli


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, cli: Cli) -> None:
    said = cli(command, "--help")
    assert said.code == 0
    assert f"python -m bench {command}" in said.out


@pytest.mark.parametrize("command", ["run", "tables"])
def test_help_is_short_and_all_options_have_a_default(command: str, cli: Cli) -> None:
    brief, every = (options(cli(command, option).out) for option in ("--help", "--help-all"))
    assert len(brief) <= 20
    assert set(brief) < set(every)
    for name, text in every.items():
        assert "default" in text or name.startswith("--help"), name


def options(text: str) -> dict[str, str]:
    """The help of each option that a help text lists."""
    lists = text[text.index("\n\n") : text.index("\nexamples:")]
    entries = re.split(r"\n  (?=-)", lists)[1:]
    return {re.search(r"--[\w-]+", entry)[0]: entry for entry in entries}  # type: ignore[index]


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["run", "--help"]])
def test_names_and_help_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom bench.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_editors_of_later_papers_are_run_where_they_are_asked_for(cli: Cli) -> None:
    asked = ["run", "--dry-run", "--edits", "1", "--datasets", "cf"]
    for more, listed in (([], 11), (["--with-recent"], 16), (["--editors", "wise"], 1)):
        assert cli(*asked, *more).out.splitlines()[-1] == f"{listed} cells"


def test_list_names_everything_and_marks_editors_of_later_papers(cli: Cli) -> None:
    printed = cli("list").out
    for name in ("recipe", "GRACE", "ripple_edits", "RIPE", "mini-llama"):
        assert name in printed
    assert "openai-community/gpt2-xl" in printed
    lines = printed.splitlines()
    marked = [line.split()[0] for line in lines if line.endswith("not in the paper's tables")]
    assert marked == ["alphaedit", "wise", "ultraedit", "ike", "rag"]


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m bench tables --table 4 --reference --markdown | head -1"
    shell = ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"]
    done = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in {"0", "141"}

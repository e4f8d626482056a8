"""Names and help, at once and with nothing heavy loaded."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from bench.cli.main import COMMANDS, main
from tests.cli.commands import (
    exit_code,
)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([command, "--help"]) == 0
    assert f"python -m bench {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "tables"])
def test_help_is_short_and_all_options_have_a_default(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code([command, "--help"]) == 0
    brief = options(capsys.readouterr().out)
    assert len(brief) <= 20
    assert exit_code([command, "--help-all"]) == 0
    every = options(capsys.readouterr().out)
    assert set(brief) < set(every)
    for name, text in every.items():
        assert "default" in text or name.startswith("--help"), name


def options(text: str) -> dict[str, str]:
    """The help of each option that a help text lists."""
    lists = text[text.index("\n\n") : text.index("\nexamples:")]
    found = re.split(r"\n  (?=-)", lists)[1:]
    return {re.search(r"--[\w-]+", entry)[0]: entry for entry in found}  # type: ignore[index]


def test_a_console_script_is_the_module() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    value = tomllib.loads(text)["project"]["scripts"]["lifelong-edit-bench"]
    script = EntryPoint("lifelong-edit-bench", value, "console_scripts")
    assert script.load() is main


@pytest.mark.parametrize(
    "arguments", [["list"], ["--help"], ["run", "--help"], ["run", "--dry-run"]]
)
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


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in (
        "recipe",
        "GRACE",
        "ripple_edits",
        "RIPE",
        "mini-llama",
        "openai-community/gpt2-xl",
    ):
        assert name in printed


def test_editors_of_later_papers_are_run_where_they_are_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["run", "--dry-run", "--edits", "1", "--datasets", "cf"]
    listed = []
    for more in ([], ["--with-recent"], ["--editors", "wise"]):
        assert main([*asked, *more]) == 0
        listed.append(capsys.readouterr().out.splitlines()[-1])
    assert listed == ["11 cells", "16 cells", "1 cells"]
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    marked = [line.split()[0] for line in lines if line.endswith("not in the paper's tables")]
    assert marked == ["alphaedit", "wise", "ultraedit", "ike", "rag"]


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m bench tables --table 4 --reference --markdown | head -1"
    found = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stderr == ""
    assert found.stdout.splitlines()[-1] in {"0", "141"}

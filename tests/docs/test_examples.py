"""The examples: an editor and a data set of one's own, by file and installed; the notebook."""

from __future__ import annotations

import ast
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.checks.contract import verdicts
from bench.cli import main as cli
from bench.cli.main import main
from editors import registry
from tests.docs.test_docs import CHECKS
from tests.support.own_files import DATASET, EDITOR, EXAMPLES, forget_installed, install
from tests.support.pages import ROOT, commands

NOTEBOOK = EXAMPLES / "quickstart.ipynb"
LINES = 120


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    forget_installed()


def scores(folder: Path, editor: str, edits: int) -> dict[str, float]:
    """Teacher-forced token accuracy of a cell."""
    for path in folder.glob("*.json"):
        record = json.loads(path.read_text())
        if (record["cell"]["editor"], record["cell"]["n_edits"]) == (editor, edits):
            return dict(record["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"])
    raise AssertionError(f"no record of {editor} at {edits}")


def test_the_editor_is_short_and_holds_the_contract(tmp_path: Path) -> None:
    assert len(EDITOR.read_text("utf-8").splitlines()) < LINES
    clauses = verdicts(registry.resolve(str(EDITOR)), tmp_path)
    assert [line for own in clauses if not own.holds for line in own.lines()] == []


@pytest.mark.slow
def test_the_editor_runs_beside_others_with_sensible_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results"
    arguments = ["--editors", f"ft,{EDITOR}", "--datasets", "zsre", "--edits", "1,10"]
    assert main(["run", *arguments, "--limit", "10", "--jobs", "1", "--out", str(out)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("\u2502")]
    labels = [line.split("\u2502")[3].strip() for line in lines]
    assert labels == ["FT", "AnswerMemory \u00a7"] * 2  # below, and marked
    for edits in (1, 10):
        ours = scores(out, "my_editor", edits)
        assert ours["reliability"] >= 0.9
        assert ours["locality"] >= 0.9
        assert 0 <= ours["generality"] <= 0.6  # other words are not found


def test_the_data_set_runs(tmp_path: Path) -> None:
    arguments = ["--editors", str(EDITOR), "--datasets", str(DATASET), "--edits", "10"]
    out = ["--limit", "10", "--metrics", "teacher_forced", "--out", str(tmp_path), "--jobs", "1"]
    assert main(["run", *arguments, *out]) == 0
    assert scores(tmp_path, "my_editor", 10)["reliability"] > 0.8
    assert main(["plan", *arguments]) == 0


def test_both_may_be_installed_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = (
        "[bench.editors]\nanswer_memory = tiny_own.memory:AnswerMemory\n"
        "[bench.datasets]\ncapitals = tiny_own.capitals:Capitals\n"
    )
    modules = {
        "tiny_own/__init__.py": "",
        "tiny_own/memory.py": EDITOR.read_text("utf-8"),
        "tiny_own/capitals.py": DATASET.read_text("utf-8"),
        "tiny_own/capitals.json": (EXAMPLES / "capitals.json").read_text("utf-8"),
    }
    install(tmp_path / "site", monkeypatch, entries, modules)
    assert main(["list"]) == 0
    shown = capsys.readouterr()
    assert "answer_memory  AnswerMemory  RB" in shown.out
    assert "capitals" in shown.out
    assert shown.err == ""
    arguments = ["--editors", "ft,answer_memory", "--datasets", "capitals", "--edits", "2"]
    out = ["--limit", "2", "--metrics", "teacher_forced", "--out", str(tmp_path / "out")]
    assert main(["run", *arguments, *out, "--jobs", "2"]) == 0  # workers find it too
    assert scores(tmp_path / "out", "answer_memory", 2)["reliability"] > 0.5


@pytest.mark.parametrize("command", list(commands(EXAMPLES / "README.md")), ids=" ".join)
def test_the_commands_of_the_page_are_ones_that_there_are(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    registry.resolve(str(EDITOR))  # of which there are records, by then
    args = cli._parser(command).parse_args(command)
    CHECKS.get(args.command, lambda _: None)(args)


def test_the_notebook_is_plain_and_holds_no_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 5
    for cell in code:
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
        ast.parse("".join(cell["source"]))


@pytest.mark.notebook
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    shutil.copy(NOTEBOOK.parent / "my_editor.py", tmp_path)
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    read = nbformat.read(NOTEBOOK, as_version=4)
    done = client.NotebookClient(read, timeout=900, resources={"metadata": {"path": tmp_path}})
    done.execute()
    texts = [
        output["data"]["text/plain"]
        for cell in read.cells
        for output in cell.get("outputs", ())
        if "text/plain" in output.get("data", {})
    ]
    assert any("AnswerMemory" in text for text in texts)
    assert texts[-1] == "('New Geanholm.', 'Brimere.', 'New Geanholm.')"  # before, after, again

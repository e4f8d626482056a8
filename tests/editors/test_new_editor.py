"""A new editor is one new file: the contract and every command know it, by the facts it states."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import editors
from bench.checks.contract import CLAUSES
from bench.checks.contract.tiny import TINY, Subject
from bench.cli.main import main
from editors import registry

SOURCE = """
from editors.parts.needs import Needs
from tests.support.broken_editors import Sound, StepHparams


class OneStepEditor(Sound):
    family = "MP"
    label = "OneStep"
    table_row = 2  # beside MEND
    mark = ("#123456", "D")
    hparams_class = StepHparams
    presets = {"default": StepHparams()}

    @classmethod
    def needs(cls, hparams, on):
        return Needs(held=on.copies(on.shape.matrix), edit_operations=1.0)
"""


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "one_step.py").write_text(SOURCE)
    monkeypatch.setattr(editors, "__path__", [*editors.__path__, str(folder)])
    registry._entries.cache_clear()
    yield "one_step"
    registry._entries.cache_clear()
    sys.modules.pop("editors.one_step", None)


@pytest.mark.parametrize("architecture", TINY)
def test_the_contract_runs_on_it(added: str, architecture: str, tmp_path: Path) -> None:
    subject = Subject(key=added, architecture=architecture, directory=tmp_path)
    for clause in CLAUSES.values():
        clause.check(subject)


def test_every_command_knows_it(
    added: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def output(*words: str) -> str:
        assert main([*words]) == 0
        return capsys.readouterr().out

    out = str(tmp_path / "results")
    chosen = ("--table", "1", "--datasets", "cf", "--edits", "1", "--limit", "2",
              "--metrics", "teacher_forced")  # fmt: skip
    rows = [line.split()[0] for line in output("list").splitlines() if line.startswith("  ")]
    assert rows[:4] == ["ft", "mend", added, "rome"]
    assert "OneStep" in output(
        "run", *chosen, "--editors", "grace,onestep", "--out", out, "--jobs", "1"
    )
    (record,) = [
        record
        for path in Path(out).rglob("*.json")
        if (record := json.loads(path.read_text()))["cell"]["editor"] == added
    ]
    assert record["editor"]["label"] == "OneStep"
    table = output("tables", *chosen, "--out", out)
    assert table.index("│ OneStep") < table.index("│ GRACE")  # by `table_row`
    figures = tmp_path / "figures"
    output("figures", "--figure", "edits", "--from", out, "--out", str(figures))
    assert "OneStep" in (figures / "edits.csv").read_text()
    assert "#123456" in (figures / "edits.svg").read_text().upper()
    plan = output("plan", "--preset", "paper", "--editors", added, "--datasets", "cf")
    assert "OneStep" in plan
    assert "is not known" not in plan

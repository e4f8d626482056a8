"""What `--log-json` writes: lines of a few kinds that other programs can rely on."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter

from bench.cli.main import main
from bench.core.events import KINDS, Progress, RunFinished, event_log
from bench.core.progress import StoppedEarly, show_documents, show_steps
from bench.evaluation.record_kinds import edits_in, names_of
from bench.runner.executors.base import Finished
from bench.runner.executors.local import LocalExecutor
from tests.cli.commands import Cli, one_cell, raising
from tests.runner.executors.marking_jobs import job
from tests.support.console import next_commands
from tests.support.pages import ROOT
from tests.support.tiny_files import save_tiny


@pytest.fixture
def arguments(run_arguments: list[str]) -> list[str]:
    return [*run_arguments, "--log-json", "events.jsonl"]


def events() -> list[dict[str, Any]]:
    """All lines, each of them checked against the fields of its kind."""
    lines = Path("events.jsonl").read_text(encoding="ascii").splitlines()
    read = [json.loads(line, parse_constant=refuse) for line in lines]
    for line in read:
        kind = KINDS[line["event"]]
        assert list(line) == ["event", "time", *(field.name for field in dataclasses.fields(kind))]
        assert datetime.fromisoformat(line["time"]).utcoffset() is not None
        TypeAdapter(kind).validate_python({name: line[name] for name in list(line)[2:]})
    return read


def refuse(constant: str) -> Any:
    raise AssertionError(f"JSON has no {constant}")


def test_a_run_reports_every_cell_and_its_lines_are_valid(arguments: list[str], cli: Cli) -> None:
    said = cli(*arguments)
    assert said.code == 0
    assert '"event"' not in said.out + said.err
    lines = events()
    counts = Counter(line["event"] for line in lines)
    assert counts == {
        "run_started": 1, "cell_started": 8, "cell_finished": 8, "progress": counts["progress"],
        "run_finished": 1,
    }  # fmt: skip
    assert counts["progress"] >= 8
    first, last = lines[0], lines[-1]
    assert (first["event"], last["event"]) == ("run_started", "run_finished")
    assert (first["cells"], first["found"], first["todo"]) == (8, 0, 8)
    assert first["selection"]["editors"] == ["ft", "grace"]
    assert (last["exit_code"], last["failed"]) == (0, 0)
    assert "out/tables/table1.csv" in last["written"]
    assert {Path(path).exists() for path in last["written"]} == {True}
    times = [line["time"] for line in lines]
    assert times == sorted(times)
    started = [line["key"] for line in lines if line["event"] == "cell_started"]
    ended = [line for line in lines if line["event"] == "cell_finished"]
    assert sorted(started) == sorted(line["key"] for line in ended)
    order = [(line["event"], line.get("key")) for line in lines]
    for line in ended:
        key = line["key"]
        assert order.index(("cell_started", key)) < order.index(("cell_finished", key))
        record = json.loads(Path(f"out/{key}.json").read_text())
        assert line["scores"] == record["summary"]["scores"]["after"]
        assert line["cell"]["editor"] == record["cell"]["editor"]
        assert (line["edits"], line["elsewhere"]) == (4, False)
    last = [line for line in lines if line["event"] == "progress"][-1]
    assert (last["done"], last["total"]) == (8, 8)
    assert (last["edits"], last["edits_total"]) == (32, 32)
    assert last["seconds_left"] == 0
    assert main(arguments) == 0  # the same command adds to the file
    added = events()[len(lines) :]
    assert [line["event"] for line in added] == ["run_started", "run_finished"]
    assert (added[0]["found"], added[0]["todo"]) == (8, 0)


def test_failures_are_reported(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    explode = raising(RuntimeError("not \x1b this time"))
    monkeypatch.setattr("editors.grace.GraceEditor._train", explode)
    assert main(arguments) == 1
    lines = events()
    failed = [line for line in lines if line["event"] == "cell_failed"]
    assert {line["cell"]["editor"] for line in failed} == {"grace"}
    assert len(failed) == 4
    assert "not" in failed[0]["error"]
    assert (lines[-1]["exit_code"], lines[-1]["failed"]) == (1, 4)


class Ending(LocalExecutor):
    """Ends with an error before any cell has."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self._error = error

    def run(self, *_: object) -> Generator[Finished, None, None]:
        yield from ()
        raise self._error


@pytest.mark.parametrize(
    ("error", "code", "named"), [(StoppedEarly(), 130, ["stopped"]), (OSError("no disk"), 2, [])]
)
def test_a_stop_and_an_error_in_the_midst_are_reported(
    error: BaseException,
    code: int,
    named: list[str],
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bench.runner.run.executor_for", lambda *_: Ending(error))
    assert main(arguments) == code
    assert [line["event"] for line in events()] == ["run_started", *named, "run_finished"]
    assert events()[-1]["exit_code"] == code
    if named:
        assert (events()[1]["done"], events()[1]["todo"]) == (0, 8)


@pytest.mark.slow
def test_worker_processes_write_nothing_and_the_parent_reports(arguments: list[str]) -> None:
    small = ["--editors", "ft", "--datasets", "cf", "--edits", "1,2", "--seeds", "0,1"]
    assert main([*arguments, *small, "--jobs", "2"]) == 0
    counts = Counter(line["event"] for line in events())
    assert (counts["cell_started"], counts["cell_finished"]) == (4, 4)


def test_a_finished_run_has_two_hints(run_arguments: list[str], cli: Cli) -> None:
    small = one_cell(run_arguments)
    assert len(next_commands(cli(*small).err)) == 2
    (command,) = next_commands(cli(*small, "--n-seeds", "2").err)
    assert command == "python -m bench report --from out"


def test_numbers_that_json_has_not_become_null(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with event_log(path) as log:
        log.write(
            Progress(
                what="cells", done=1, total=None, edits=None, edits_total=None, rate=math.inf,
                seconds_left=math.nan,
            )
        )  # fmt: skip
    line = json.loads(path.read_text(), parse_constant=refuse)
    assert (line["rate"], line["seconds_left"], line["total"]) == (None, None, None)


def test_lines_of_many_threads_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "events"
    event = RunFinished(exit_code=0, seconds=1.0, failed=0, written=("x" * 5_000,))
    with event_log(path) as log:

        def write_many(_: int) -> None:
            for _ in range(20):
                log.write(event)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(write_many, range(4)))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 80


def test_a_training_reports_its_last_step(capsys: pytest.CaptureFixture[str]) -> None:
    with event_log(Path("events.jsonl")) as log, show_steps(log) as step:
        for iteration in (1, 2, 3):
            step({"iteration": iteration, "iterations": 3, "running_loss": 2.0})
    (line,) = events()
    assert (line["event"], line["what"]) == ("progress", "iterations")
    assert (line["done"], line["total"], line["seconds_left"]) == (3, 3, 0)
    assert line["rate"] > 0
    assert capsys.readouterr().err == ""


def test_statistics_report_their_last_document() -> None:
    with event_log(Path("events.jsonl")) as log, show_documents(4, log) as show:
        for documents in (2, 4):
            running: Any = SimpleNamespace(documents=documents, tokens=100 * documents)
            show(running)
    (line,) = events()
    assert (line["what"], line["done"], line["total"]) == ("documents", 4, 4)


def test_edits_are_counted_by_whole_blocks(tmp_path: Path) -> None:
    cell = job(save_tiny("llama", tmp_path / "model"), 0).cell
    assert edits_in(dataclasses.replace(cell, limit=10, n_edits=4)) == 8
    assert edits_in(dataclasses.replace(cell, limit=None)) is None
    assert names_of(cell)["seed"] == 0


def test_every_kind_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "long_runs.md").read_text(encoding="utf-8")
    for name, kind in KINDS.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}`")]
        for field in dataclasses.fields(kind):
            assert f"`{field.name}`" in row

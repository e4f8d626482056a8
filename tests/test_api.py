"""The commands as Python functions: data frames, and the command line's own sentences."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bench
from bench.cli.main import main
from bench.evaluation.context import Context
from bench.runner.executors.local import LocalExecutor
from bench.store.results import failed
from bench.tables.tidy import COLUMNS
from bench.tables.tidy import frame as frame_of
from tests.core.test_cells import CELL
from tests.support.own_files import DATASET, EDITOR

ROOT = Path(__file__).parents[1]
ASKED: dict[str, Any] = {
    "editors": ["ft", EDITOR],
    "datasets": ["zsre"],
    "edits": [1, 2],
    "limit": 2,
    "metrics": "teacher_forced",
}
WORDS = [
    "--editors", f"ft,{EDITOR}", "--datasets", "zsre", "--edits", "1,2", "--limit", "2",
    "--metrics", "teacher_forced",
]  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def frame(out: Path) -> Any:
    return bench.run(**ASKED, out=out)


def test_a_run_gives_a_row_for_each_number(frame: Any) -> None:
    assert tuple(frame.columns) == COLUMNS
    cells = frame.groupby(["editor", "edits"])
    assert sorted(cells.groups) == [("ft", 1), ("ft", 2), ("my_editor", 1), ("my_editor", 2)]
    # two channels x two measures x reliability, generality, locality, average
    assert set(cells.size()) == {16}
    memory = frame[(frame.editor == "my_editor") & (frame.aspect == "reliability")]
    assert set(memory[memory.channel == "teacher_forced"].value) == {1.0}
    assert frame.key.nunique() == 4
    assert set(frame.protocol) == {"zsre/blocks/v2"}
    assert (frame.seconds > 0).all()
    assert frame.error.isna().all()
    locality = frame[(frame.aspect == "locality") & (frame.channel == "teacher_forced")]
    assert set(locality.before) == {1.0}


def test_numbers_of_several_protocols_are_distinct() -> None:
    cells = [replace(CELL, generation=name) for name in ("context_free", "context_guided")]
    facts = {"label": "FT", "family": "MP"}
    free, guided = (failed(cell, facts, {"seconds": {}}, ValueError("no")) for cell in cells)
    frame = frame_of([free, guided])
    assert dict(zip(frame.key, frame.protocol, strict=True)) == {
        free["key"]: "zsre/blocks/v1",
        guided["key"]: "zsre/blocks+context_guided/v1",
    }


def test_it_is_the_command_lines_run(
    frame: Any, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.json")}
    assert main(["run", *WORDS, "--out", str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.json")} == before
    assert {path.stem for path in before} == set(frame.key)
    again = bench.run(**ASKED, out=out)
    assert again.equals(frame)


def test_records_and_tables_are_frames(frame: Any, out: Path) -> None:
    there = bench.records(out)
    assert (set(there.key), len(there)) == (set(frame.key), len(frame))
    shown = bench.table(1, **ASKED, out=out)
    average = shown[(shown.editor == "AnswerMemory") & (shown.metric == "Avg")]
    ours = frame[
        (frame.editor == "my_editor")
        & (frame.channel == "teacher_forced")
        & (frame.measure == "token_accuracy")
        & (frame.aspect == "average")
    ]
    assert [round(100 * value, 2) for value in ours.value] == list(average.value)


def test_the_committed_reference_is_a_frame() -> None:
    shown = bench.table(1, reference=True, editors="recipe", edits=100, datasets="zsre")
    assert set(shown.editor) == {"RECIPE"}
    assert shown.published_value.notna().any()


def test_a_configuration_holds_all_options(frame: Any, out: Path) -> None:
    config = bench.RunConfig(
        editors=("ft", str(EDITOR)), datasets=("zsre",), edits=(1, 2), limit=2,
        metrics="teacher_forced", out=out,
    )  # fmt: skip
    assert bench.run(config).equals(frame)


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"editors": "recpie"}, ["--editors", "recpie"]),
    ({"datasets": ["zsre", "nope"]}, ["--datasets", "zsre,nope"]),
    ({"edits": [0]}, ["--edits", "0"]),
    ({"edits": [10], "limit": 5}, ["--edits", "10", "--limit", "5"]),
    ({"table": 9}, ["--table", "9"]),
    ({"backbone": "nope"}, ["--backbone", "nope", "--editors", "ft"]),
    ({"preset": "x"}, ["--preset", "x"]),
    ({"dtype": "float12"}, ["--dtype", "float12"]),
    ({"device": "gpu"}, ["--device", "gpu", "--editors", "ft"]),
    ({"metrics": "al"}, ["--metrics", "al"]),
    ({"jobs": 0}, ["--jobs", "0"]),
    ({"hparams": {"ft": "gpt-5"}}, ["--editors", "ft", "--hparam", "ft=gpt-5"]),
    ({"hparams": {"mend.seed": 1}}, ["--editors", "ft", "--hparam", "mend.seed=1"]),
    ({"editors": "ft", "hparams": {"ft.lrr": 1}}, ["--editors", "ft", "--hparam", "ft.lrr=1"]),
    ({"table": 2, "limit": 3}, ["--table", "2", "--limit", "3"]),
]


def exit_code(words: list[str]) -> int:
    try:
        return main(words)
    except SystemExit as ended:  # of the parser
        return int(ended.code or 0)


@pytest.mark.parametrize(("asked", "words"), WRONG)
def test_errors_are_the_command_lines_sentences(
    asked: dict[str, Any], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((ValueError, OSError)) as error:
        bench.run(**{"editors": "ft", **asked})
    assert exit_code(["run", *words]) == 2
    assert capsys.readouterr().err == f"error: {error.value}\n"


def test_a_failed_cell_has_a_row_with_its_error(tmp_path: Path) -> None:
    source, place = EDITOR.read_text("utf-8"), "        self.entries += "
    failing = source.replace(place, f"        raise RuntimeError('not today')\n{place}")
    (tmp_path / "failing.py").write_text(failing)
    asked = {**ASKED, "editors": tmp_path / "failing.py", "edits": 1}
    rows = bench.run(**asked, out=tmp_path / "out")
    assert list(rows.error) == ["RuntimeError: not today"]
    assert rows.value.isna().all()
    assert len(bench.records(tmp_path / "out")) == 0


def test_hyper_parameters_are_taken(out: Path) -> None:
    asked = {**ASKED, "editors": [EDITOR], "edits": 1}
    rows = bench.run(**asked, hparams={"my_editor.threshold": 1.0}, out=out)
    assert set(rows.key).isdisjoint(bench.run(**asked, out=out).key)


def test_progress_is_a_line_for_each_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.run(**{**ASKED, "editors": EDITOR, "edits": [1]}, out=tmp_path, progress=True)
    captured = capsys.readouterr()
    assert captured.err.startswith("1: my_editor on zsre, 1 edit, mini-llama, seed 0: ")
    assert captured.out == ""
    bench.run(**{**ASKED, "editors": EDITOR, "edits": [2]}, out=tmp_path)
    assert capsys.readouterr() == ("", "")


def test_nothing_of_the_process_is_changed(tmp_path: Path) -> None:
    environment, folder = dict(os.environ), Path.cwd()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        bench.run(**{**ASKED, "editors": EDITOR, "edits": 1}, out=tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert dict(os.environ) == environment
    assert Path.cwd() == folder


def test_an_editor_is_opened_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    session = bench.open_editor("recipe", hparams={"index": "exact"})
    asked = "Where does Drirel Guxsen live?"
    session.edit(prompt=asked, target="Port Traixport", subject="Drirel Guxsen")
    assert session.ask(asked).after.startswith("Port Traixport")
    saved = session.save(tmp_path / "edits")
    session.reset()
    session.load(saved)
    assert session.ask(asked).after.startswith("Port Traixport")
    assert "open_editor" in dir(bench)
    with pytest.raises(ValueError, match="Unknown hyper-parameter 'inde'"):
        bench.open_editor("recipe", hparams={"inde": "exact"})


def test_a_place_without_records_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No records at "):
        bench.records(tmp_path / "none")
    with pytest.raises(ValueError, match=r"No record in .* belongs to this selection of table 1"):
        bench.table(1, editors="ft", out=tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        getattr(bench, "nope")  # noqa: B009 - a static reader would refuse it


def test_importing_it_is_light() -> None:
    code = (
        "import sys, bench; heavy = {'torch', 'pandas', 'numpy', 'argparse'} & set(sys.modules); "
        "sys.exit(bool(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_so_many_processes_run_as_jobs_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the command line, whose tests start them."""
    asked: list[int | None] = []

    def seen(processes: int | None, context: Context) -> LocalExecutor:
        asked.append(processes)
        return LocalExecutor(1, context)

    monkeypatch.setattr("bench.runner.executors.local.LocalExecutor", seen)
    rows = bench.run(**{**ASKED, "editors": EDITOR, "edits": [1, 2]}, out=tmp_path, jobs=2)
    assert (asked, rows.key.nunique()) == ([2], 2)


def test_a_path_with_a_comma_is_one_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "own, too"
    folder.mkdir()
    for name in (DATASET.name, "capitals.json"):
        shutil.copy(DATASET.parent / name, folder)
    place, out = folder / DATASET.name, tmp_path / "out"
    given: dict[str, Any] = {"editors": "ft", "limit": 1, "metrics": "teacher_forced", "out": out}
    numbers: dict[str, Any] = {"edits": np.int64(1), "seeds": np.arange(1)}
    shown = bench.run(datasets=[str(place)], **numbers, **given)
    again = bench.run(datasets=place, edits=[1], **given)
    assert set(shown.dataset) == {"capitals"}
    assert set(shown.key) == set(again.key)
    words = ["--datasets", f'"{place}", zsre', "--editors", "ft", "--edits", "1", "--dry-run"]
    assert main(["run", *words]) == 0
    assert "2 cells" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"out": ""}, "--out needs some text, got none."),
        ({"data_dir": " "}, "--data-dir needs some text, got none."),
        ({"backbone": ""}, "--backbone needs some text, got none."),
        ({"editors": 5}, "names: expected a list of names or paths, got 5."),
        ({"editors": ["ft", None]}, "names: expected a list of names or paths, got one with None."),
        ({"datasets": ["zsre", ""]}, "A name needs some text, got none."),
        ({"hparams": 5}, "--hparam: expected names with values, got 5."),
        ({"edits": True}, "--edits: expected a whole number of at least 1, got True."),
        ({"edits": 1.0}, "--edits: expected a whole number of at least 1, got 1.0."),
        ({"limit": "5"}, "--limit: expected a whole number of at least 1, got '5'."),
        ({"edits": b"1"}, "--edits: expected a whole number of at least 1, got b'1'."),
        ({"edits": {1: 2}}, "numbers: expected a list of whole numbers, got a value of the type"),
        ({"seeds": 1 << 63}, "--seeds: expected a whole number below 2^63, got 92233"),
        ({"table": True}, "--table: expected a whole number of at least 1, got True."),
        ({"device": 0}, "--device has to be text, got 0."),
        ({"overwrite": "false"}, "--overwrite: expected True or False, got 'false'."),
        ({"retry_failed": 0}, "--retry-failed: expected True or False, got 0."),
        ({"recent": "no"}, "--recent: expected True or False, got 'no'."),
        ({"config": {"edits": 1}}, "config: expected a RunConfig, got a value of the type dict."),
    ],
)
def test_arguments_that_are_none_are_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        bench.run(**given)


def test_the_reference_is_not_shown_by_a_word() -> None:
    with pytest.raises(ValueError, match="reference: expected True or False, got 'no'"):
        bench.table(reference="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["editors", "datasets", "measure"])
def test_a_configuration_wants_lists_and_takes_paths_as_text(name: str) -> None:
    with pytest.raises(ValueError, match=f"--{name}: expected a list of names, got 'ft'"):
        bench.RunConfig(**dict[str, Any]({name: "ft"}))
    places: dict[str, Any] = {"out": "a/b", "data_dir": "c"}
    config = bench.RunConfig(**places)
    assert (config.records, config.tables, config.data_dir) == (
        Path("a/b"), Path("a/b/tables"), Path("c"),
    )  # fmt: skip

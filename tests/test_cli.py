"""The command line, on a tiny model and made data."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.cli import COMMANDS, main
from bench.record_kinds import identity_of
from bench.results import ResultStore
from tests.datasets.made import counterfact_row, write, zsre_row
from tests.said import without_next_steps
from tests.saved_models import save_tiny

ROWS = 5


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    write(directory, "zsre", "test", [zsre_row(alt=f"Port {i}") for i in range(ROWS)])
    write(
        directory, "counterfact", "test", [counterfact_row(target_new=f"T{i}") for i in range(ROWS)]
    )
    return directory


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Commands write where they are, and set variables that libraries read when imported."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # here they have been imported before
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as context:
        for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS", "TRANSFORMERS_VERBOSITY"):
            context.setenv(name, "1" if name.startswith("HF") else "error")
        yield


@pytest.fixture(autouse=True)
def quick_editors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps an edit; what the editors reach is not the matter here."""
    from editors.ft import FtEditor, FtHparams
    from editors.grace import GraceEditor, GraceHparams

    monkeypatch.setattr(FtEditor, "presets", {"default": FtHparams(layer=None, num_steps=2)})
    monkeypatch.setattr(GraceEditor, "presets", {"default": GraceHparams(layer=None, n_iter=2)})


@pytest.fixture
def run_arguments(backbone: Path, data: Path) -> list[str]:
    return [
        *("run", "--table", "1", "--backbone", str(backbone), "--data-dir", str(data)),
        *("--editors", "ft,grace", "--datasets", "ZSRE,cf", "--edits", "1,2", "--limit", "4"),
        *("--jobs", "1", "--out", "out"),
    ]


def tables_arguments(run_arguments: list[str]) -> list[str]:
    """The same selection for `tables`, which takes no `--jobs`."""
    at = run_arguments.index("--jobs")
    return ["tables", *run_arguments[1:at], *run_arguments[at + 2 :]]


def records() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(Path("out").glob("*.json"))]


def forbid_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("bench.loaded.load", refuse)


def test_run_computes_prints_and_writes_then_only_prints(
    run_arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(run_arguments) == 0
    first = capsys.readouterr()
    assert len(records()) == 2 * 2 * 2
    assert {record["status"]["state"] for record in records()} == {"complete"}
    assert sorted(p.name for p in Path("out/tables").iterdir()) == [
        "table1.csv",
        "table1.md",
        "table1.tex",
    ]
    assert "written: out/tables/table1.md" in first.out
    assert "GRACE" in first.out
    assert without_next_steps(first.err) == ""  # no progress in a pipe
    forbid_loading(monkeypatch)
    assert main(run_arguments) == 0
    assert capsys.readouterr().out == first.out
    assert main(tables_arguments(run_arguments)) == 0
    assert capsys.readouterr().out == first.out


def test_a_record_says_everything(run_arguments: list[str]) -> None:
    assert main([*run_arguments, "--editors", "ft", "--datasets", "cf", "--edits", "2"]) == 0
    (record,) = records()
    assert list(record) == [
        *("schema", "key", "digest", "protocol", "status", "cell", "editor", "provenance"),
        *("data", "summary", "health", "rows"),
    ]
    assert record["cell"]["backbone"] == "tiny"
    assert record["cell"]["limit"] == 4
    assert record["editor"] == {"label": "FT", "family": "MP", "retrieves_text": False}
    assert record["data"]["samples"] == ROWS
    assert record["summary"]["samples"] == len(record["rows"]) == 4
    provenance = record["provenance"]
    assert provenance["threads"] == 1
    assert set(provenance["seconds"]) == {"load", "pristine", "edit", "probe"}
    assert provenance["libraries"]["torch"]
    assert provenance["peak_memory"]["resident"] > 2**20
    item = record["rows"][0]["items"][0]
    assert set(item["after"]) == {"teacher_forced", "prompt_only", "generated"}
    assert item["after"]["teacher_forced"]["text"]


def test_metrics_can_be_recomputed_from_a_record(run_arguments: list[str]) -> None:
    from bench.rows import summarise

    assert main([*run_arguments, "--editors", "ft", "--edits", "2"]) == 0
    for record in records():
        assert summarise(record["rows"]) == record["summary"]


def test_other_settings_are_other_cells(run_arguments: list[str]) -> None:
    one = [*run_arguments, "--editors", "ft", "--datasets", "cf", "--edits", "1"]
    variants: list[list[str]] = [
        [],
        ["--metrics", "teacher_forced"],
        ["--generation-prompt", "context_guided"],
        ["--seeds", "3"],
        ["--limit", "2"],
        ["--dtype", "bfloat16"],
    ]
    for number, variant in enumerate(variants, 1):
        assert main([*one, *variant]) == 0
        assert len(records()) == number
    generated = {record["cell"]["generation"] for record in records()}
    assert generated == {"none", "context_free", "context_guided"}


def test_teacher_forced_skips_generation(run_arguments: list[str]) -> None:
    assert main([*run_arguments, "--editors", "ft", "--metrics", "teacher_forced"]) == 0
    for record in records():
        assert "generated" not in record["summary"]["scores"]["after"]


def test_seeds_are_averaged_and_found_again_by_tables(
    run_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    one = [*run_arguments, "--editors", "ft", "--datasets", "cf", "--edits", "1"]
    assert main([*one, "--n-seeds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "over up to 2 seeds (0, 1)" in printed
    assert main(tables_arguments(one)) == 0
    assert capsys.readouterr().out == printed


def test_overwrite_redoes(run_arguments: list[str]) -> None:
    one = [*run_arguments, "--editors", "ft", "--datasets", "cf", "--edits", "1"]
    assert main(one) == 0
    (path,) = Path("out").glob("*.json")
    before = path.stat().st_ino
    assert main(one) == 0
    assert path.stat().st_ino == before
    rows = records()[0]["rows"]
    assert main([*one, "--overwrite"]) == 0
    assert path.stat().st_ino != before
    for old, new in zip(rows, records()[0]["rows"], strict=True):
        assert new | {"edit_seconds": 0} == old | {"edit_seconds": 0}


def test_a_failed_cell_is_recorded_and_the_grid_goes_on(
    run_arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as context:

        def explode(*_: object) -> None:
            raise RuntimeError("not this time")

        context.setattr("editors.grace.GraceEditor._train", explode)
        assert main(run_arguments) == 1
    captured = capsys.readouterr()
    states = [(r["cell"]["editor"], r["status"]["state"]) for r in records()]
    assert sorted(states) == [("ft", "complete")] * 4 + [("grace", "failed")] * 4
    assert "error: 4 of 8 cells failed" in captured.err
    assert (
        "failed: grace on zsre, 2 edits, tiny, seed 0: RuntimeError: not this time" in captured.err
    )
    assert "FT" in captured.out  # the table of what there is
    before = records()
    with monkeypatch.context() as context:
        forbid_loading(context)
        assert main(run_arguments) == 1
    assert records() == before
    again = capsys.readouterr()
    assert again.err == captured.err
    assert "does not run them again; with --retry-failed it does." in again.err
    assert main([*run_arguments, "--retry-failed"]) == 0
    assert {r["status"]["state"] for r in records()} == {"complete"}
    assert [r for r in records() if r["cell"]["editor"] == "ft"] == [
        r for r in before if r["cell"]["editor"] == "ft"
    ]


@pytest.mark.slow
def test_worker_processes_make_the_same_numbers(run_arguments: list[str]) -> None:
    some = [*run_arguments, "--datasets", "cf"]
    assert main(some) == 0
    serial = {r["key"]: r["summary"] for r in records()}
    assert main([*some, "--overwrite", "--jobs", "2"]) == 0
    assert {r["key"]: r["summary"] for r in records()} == serial


def test_dry_run_lists_cells_and_writes_nothing(
    run_arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*run_arguments, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "8 cells"
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_says_so(
    run_arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("editors.ft.FtEditor.edit", interrupt)
    assert main(run_arguments) == 130
    assert "the same command continues" in capsys.readouterr().err
    assert [path.name for path in Path("out").iterdir()] == []


BAD = [
    ("--editors", "ft,grce", "Unknown editor 'grce'. Did you mean 'grace'?"),
    ("--datasets", "zrse", "Unknown data set 'zrse'. Did you mean 'zsre'?"),
    ("--backbone", "mini-lama", "Unknown backbone 'mini-lama'. Did you mean 'mini-llama'?"),
    ("--backbone", "./nowhere", "No model directory at ./nowhere."),
    ("--preset", "papr", "Unknown preset 'papr'. Did you mean 'paper'?"),
    ("--metrics", "al", "Unknown metrics 'al'. Did you mean 'all'?"),
    ("--dtype", "float12", "Unknown dtype 'float12'"),
    ("--device", "gpu", "Unknown device 'gpu'. Available: cpu, cuda, cuda:N."),
    ("--table", "9", "Unknown table '9'."),
    ("--edits", "0", "expected a whole number of at least 1, got '0'"),
    ("--edits", "ten", "expected a whole number of at least 1, got 'ten'"),
    ("--edits", ",", "expected names separated by commas, got none"),
    ("--seeds", "1.5", "expected a whole number of at least 0, got '1.5'"),
    ("--limit", "1", "a limit of 1 for 2 edits"),
    ("--limit", "0", "expected a whole number of at least 1, got '0'"),
    ("--jobs", "0", "expected a whole number of at least 1, got '0'"),
    ("--edits", "6", "got a limit of 4 for 6 edits"),
    ("--data-dir", "missing", "missing"),
    ("--hparam", "mode=easyedit", "Unknown editor 'mode'."),
    ("--hparam", "ft.lr", "--hparam takes EDITOR.NAME=VALUE or EDITOR=PRESET, got 'ft.lr'."),
    ("--hparam", "ft.=1", "--hparam takes EDITOR.NAME=VALUE or EDITOR=PRESET, got 'ft.=1'."),
    ("--hparam", "ft=gpt-5", "FT has no preset 'gpt-5'. Available: "),
    ("--hparam", "grce.eps=1", "Unknown editor 'grce'. Did you mean 'grace'?"),
    ("--hparam", "ft.lrr=1", "'lrr' for FtHparams. Did you mean 'lr'"),
    ("--index", "fais", "Unknown index 'fais'. Did you mean 'faiss'?"),
    ("--index", "faiss", "--hparam changes RECIPE, which is not among the editors"),
    ("--hparam", "malmen.seed=1", "--hparam changes MALMEN, which is not among the editors"),
]


@pytest.mark.parametrize(("option", "value", "sentence"), BAD)
def test_bad_values_are_one_sentence_and_leave_nothing(
    run_arguments: list[str],
    option: str,
    value: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert exit_code([*run_arguments, option, value]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_optional_package_that_is_missing_is_named(
    run_arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("editors.parts.inner_product_index.find_spec", lambda _: None)
    assert main([*run_arguments, "--editors", "recipe", "--index", "faiss"]) == 2
    assert "pip install 'lifelong-edit-bench[faiss]'" in capsys.readouterr().err
    assert not Path("out").exists()


def exit_code(arguments: list[str]) -> int:
    """What the process ends with; argparse exits by itself."""
    with pytest.raises(SystemExit) as end:
        sys.exit(main(arguments))
    assert isinstance(end.value.code, int)
    return end.value.code


def test_more_edits_than_samples(
    run_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*run_arguments, "--edits", "6", "--limit", "6"]) == 2
    assert "has 5 samples in" in capsys.readouterr().err
    assert not Path("out").exists()


def test_malformed_data(
    run_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "bad", "zsre", "test", [])
    path.write_text('[{"src": ')
    assert main([*run_arguments, "--data-dir", str(path.parent)]) == 2
    assert str(path) in capsys.readouterr().err
    assert not Path("out").exists()


def test_unsupported_model_type(
    run_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    assert main([*run_arguments, "--backbone", str(tmp_path / "bert")]) == 2
    assert "model_type 'bert', which has no architecture row" in capsys.readouterr().err
    assert not Path("out").exists()


def test_the_paper_preset_without_data(capsys: pytest.CaptureFixture[str], backbone: Path) -> None:
    arguments = ["run", "--preset", "paper", "--backbone", str(backbone), "--device", "cpu"]
    assert main(arguments) == 2
    assert "give their directory with --data-dir" in capsys.readouterr().err


def test_out_that_is_a_file(
    run_arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    assert main(run_arguments) == 2
    assert "out" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_a_damaged_record_is_named_set_aside_and_computed_again(
    run_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    one = [*run_arguments, "--editors", "ft", "--datasets", "cf", "--edits", "1"]
    assert main(one) == 0
    summary = records()[0]["summary"]
    capsys.readouterr()
    (path,) = Path("out").glob("*.json")
    path.write_text(path.read_text()[:100])
    assert main(one) == 0
    said = capsys.readouterr().err
    assert f"warning: {path} is no result record. It is set aside as {path.name}.corrupt." in said
    assert records()[0]["summary"] == summary
    assert len(path.with_name(f"{path.name}.corrupt").read_text()) == 100


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_no_more_is_one_sentence_and_keeps_what_is_finished(
    run_arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    whole = ResultStore.put
    written: list[str] = []

    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as context:

        def put(store: ResultStore, key: str, content: bytes) -> Path:
            written.append(key)
            if len(written) > 3:
                context.setattr(os, "fsync", full)
            return whole(store, key, content)

        context.setattr(ResultStore, "put", put)
        assert main(run_arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {os.strerror(number)}: out/{written[3]}.json; what is finished")
    assert said.count("\n") == 1
    assert sorted(path.stem for path in Path("out").iterdir()) == sorted(written[:3])
    kept = records()
    assert main(run_arguments) == 0
    assert [record for record in records() if record["key"] in written[:3]] == kept


def test_tables_say_how_many_stale_records_are_left_out(
    run_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    one = [*run_arguments, "--editors", "ft", "--datasets", "cf", "--edits", "1", "--n-seeds", "2"]
    assert main(one) == 0
    printed = capsys.readouterr().out
    for change in ({"metric_version": 7}, {"metric_version": 7, "n_edits": 3}):
        record = records()[0]
        cell = record["cell"] | change
        store_as(record, cell)
    assert main(tables_arguments(one)) == 0
    captured = capsys.readouterr()
    assert captured.out == printed
    assert "warning: 1 stale record is left out (metric protocol 7, now 1)" in captured.err


def store_as(record: dict[str, Any], cell: dict[str, Any]) -> None:
    """Another record of the same numbers."""
    identity = identity_of(cell)
    other = {"cell": cell, "key": identity.key(), "protocol": identity.protocol_id}
    ResultStore(Path("out")).write(record | other)


def test_tables_show_one_protocol_and_say_which_others_there_are(
    run_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    one = [*run_arguments, "--editors", "ft", "--datasets", "cf", "--edits", "1"]
    assert main(one) == 0
    printed = capsys.readouterr().out
    (record,) = records()
    values = record["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]
    values.update(dict.fromkeys(values, 0.125))
    store_as(record, record["cell"] | {"scoring_time": "edit_end"})
    ask = tables_arguments(one)
    assert main(ask) == 0
    captured = capsys.readouterr()
    assert captured.out == printed
    assert "warning: 1 record of these cells follows another protocol " in captured.err
    other = "counterfact/blocks+scoring_time=edit_end/v1"
    assert other in captured.err
    assert main([*ask, "--protocol", other]) == 0
    shown = capsys.readouterr().out
    assert "12.50" in shown
    assert f"Protocols: {other}." in shown
    assert "12.50" not in printed
    assert main([*ask, "--protocol", "blocks/v9"]) == 2
    assert "No record follows the protocol 'blocks/v9'" in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_tables_of_a_read_only_store_are_printed(
    run_arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    one = [*run_arguments, "--editors", "ft", "--datasets", "cf", "--edits", "1,2"]
    assert main(one) == 0
    printed = capsys.readouterr().out.partition("written:")[0]
    path = Path("out") / f"{'0' * 64}.json"
    path.write_text("damaged")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as context:
        for name in ("rename", "replace", "touch"):
            context.setattr(Path, name, refuse)
        assert main(tables_arguments(one)) == 0
    captured = capsys.readouterr()
    assert captured.out == printed
    assert f"{path} is no result record. It is skipped" in captured.err
    assert f"the table is not written: {os.strerror(number)}: out/tables." in captured.err
    assert path.read_text() == "damaged"


@pytest.mark.slow
def test_two_runs_share_a_table(run_arguments: list[str], backbone: Path) -> None:
    code = (
        "import sys\nfrom editors.ft import FtEditor, FtHparams\n"
        "FtEditor.presets = {'default': FtHparams(layer=None, num_steps=2)}\n"
        "from bench.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *run_arguments, "--editors", "ft", "--n-seeds", "3"]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    runs = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    (first, error), (second, _) = (run.communicate(timeout=300) for run in runs)
    assert [run.returncode for run in runs] == [0, 0], error.decode()
    assert first == second
    assert len(records()) == 2 * 2 * 3
    assert {record["status"]["state"] for record in records()} == {"complete"}
    assert not Path("out/claims").exists()


def test_tables_without_records(
    run_arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tables_arguments(run_arguments)) == 2
    assert "No record in out belongs to this selection" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rum"], "Unknown command 'rum'. Did you mean 'run'?"),
        ([], "the following arguments are required: COMMAND"),
        (["run", "--editor-s", "ft"], "unrecognized arguments: --editor-s"),
        (["run", "--seeds", "0", "--n-seeds", "2"], "not allowed with argument"),
    ],
)
def test_bad_command_lines(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(arguments) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code([command, "--help"]) == 0
    assert f"python -m bench {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["list"], ["--help"], ["run", "--help"], ["run", "--dry-run"]]
)
def test_names_and_help_load_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom bench.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    root = Path(__file__).parents[1]
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
    command = f"{sys.executable} -m bench tables --table 1 --reference --markdown | head -1"
    found = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stderr == ""
    assert found.stdout.splitlines()[-1] in {"0", "141"}

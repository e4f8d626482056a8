"""What commands do with records that are damaged, stale, or cannot be written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.store.results import ResultStore
from tests.cli.commands import (
    Cli,
    Refused,
    one_cell,
    raising,
    records,
    store_as,
    tables_arguments,
)


def test_a_damaged_record_is_computed_again(run_arguments: list[str], cli: Cli) -> None:
    command = one_cell(run_arguments)
    assert cli(*command).code == 0
    summary = records()[0]["summary"]
    (path,) = Path("out").glob("*.json")
    path.write_text(path.read_text()[:100])
    error = cli(*command).err
    assert f"warning: {path} is no result record. It is set aside as {path.name}.corrupt." in error
    assert records()[0]["summary"] == summary
    assert len(path.with_name(f"{path.name}.corrupt").read_text()) == 100


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_disk_that_takes_no_more_is_one_sentence_and_spares_finished_cells(
    run_arguments: list[str], monkeypatch: pytest.MonkeyPatch, refused: Refused, number: int
) -> None:
    whole = ResultStore.put
    written: list[str] = []
    with monkeypatch.context() as context:

        def put(store: ResultStore, key: str, content: bytes) -> Path:
            written.append(key)
            if len(written) > 3:
                context.setattr(os, "fsync", raising(OSError(number, os.strerror(number))))
            return whole(store, key, content)

        context.setattr(ResultStore, "put", put)
        error = refused(*run_arguments)
    assert error.startswith(f"error: {os.strerror(number)}: out/{written[3]}.json;")
    assert sorted(path.stem for path in Path("out").iterdir()) == sorted(written[:3])
    stored = records()
    assert main(run_arguments) == 0
    assert [record for record in records() if record["key"] in written[:3]] == stored


def test_tables_say_how_many_stale_records_are_left_out(run_arguments: list[str], cli: Cli) -> None:
    command = [*one_cell(run_arguments), "--n-seeds", "2"]
    printed = cli(*command).out
    for change in ({"metric_version": 7}, {"metric_version": 7, "n_edits": 3}):
        record = records()[0]
        store_as(record, record["cell"] | change)
    captured = cli(*tables_arguments(command))
    assert captured.out == printed
    assert "warning: 1 stale record is left out (metric protocol 7, now 2)" in captured.err


def test_tables_show_one_protocol_and_name_others(run_arguments: list[str], cli: Cli) -> None:
    command = one_cell(run_arguments)
    printed = cli(*command).out
    (record,) = records()
    values = record["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]
    values.update(dict.fromkeys(values, 0.125))
    store_as(record, record["cell"] | {"scoring_time": "edit_end"})
    ask = tables_arguments(command)
    captured = cli(*ask)
    assert captured.out == printed
    assert "warning: 1 record of these cells follows another protocol " in captured.err
    other = "counterfact/blocks+scoring_time=edit_end/v2"
    assert other in captured.err
    shown = cli(*ask, "--protocol", other).out
    assert "12.50" in shown
    assert f"Protocols: {other}." in shown
    assert "12.50" not in printed
    refusal = cli(*ask, "--protocol", "blocks/v9")
    assert refusal.code == 2
    assert "No record follows the protocol 'blocks/v9'" in refusal.err


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_tables_of_a_read_only_store_are_printed(
    run_arguments: list[str], monkeypatch: pytest.MonkeyPatch, cli: Cli, number: int
) -> None:
    command = [*run_arguments, "--editors", "ft", "--datasets", "cf", "--edits", "1,2"]
    printed = cli(*command).out.partition("written:")[0]
    path = Path("out") / f"{'0' * 64}.json"
    path.write_text("damaged")
    with monkeypatch.context() as context:
        for name in ("rename", "replace", "touch"):
            context.setattr(Path, name, raising(OSError(number, os.strerror(number))))
        captured = cli(*tables_arguments(command))
    assert (captured.code, captured.out) == (0, printed)
    assert f"{path} is no result record. It is skipped" in captured.err
    assert f"the table is not written: {os.strerror(number)}: out/tables." in captured.err
    assert path.read_text() == "damaged"


@pytest.mark.slow
def test_two_runs_share_a_table(run_arguments: list[str], backbone: Path) -> None:
    code = (
        "import sys\nfrom editors.ft import FtEditor, FtHparams\n"
        "FtEditor.presets = {'default': FtHparams(layer=None, num_steps=2)}\n"
        "from bench.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, *run_arguments, "--editors", "ft", "--n-seeds", "3"]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
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


def test_tables_without_records(run_arguments: list[str], refused: Refused) -> None:
    sentence = refused(*tables_arguments(run_arguments))
    assert "No record in out belongs to this selection" in sentence

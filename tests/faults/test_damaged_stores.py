"""Damaged records, checkpoints and exports: named, and never read as data."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
import torch

from bench.cli.main import main
from bench.core.progress import StoppedEarly
from bench.evaluation.caches import numerics
from bench.evaluation.context import Context
from bench.evaluation.driver import run_cell
from bench.runner.worker import Worker
from bench.store.reference import reference_records, write_reference
from bench.store.results import OtherSchemaError, ResultStore
from bench.store.running import CheckpointFile
from tests.faults.damage import DAMAGES, corrupt, corrupted
from tests.faults.grid import EDITS, Home, results, untimed
from tests.faults.tally import Count, SilentError
from tests.support.stopping_checkpointer import StoppingCheckpointer

pytestmark = pytest.mark.faults

FAULTS = "corruptions"


def test_damaged_records(
    home: Home,
    count: Count,
    chance: random.Random,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys = sorted(home.whole)
    for damage in DAMAGES:
        store = ResultStore(shutil.copytree(home.directory / "whole", tmp_path / damage.__name__))
        key, other = chance.sample(keys, 2)
        corrupt(store.path(key), damage, chance, store.path(other).read_bytes())
        with count.trying(f"{damage.__name__} record"):
            capsys.readouterr()
            try:
                assert store.read(key) is None, "it was read"
                message = capsys.readouterr().err
            except OtherSchemaError as error:
                message = str(error)
            if str(store.path(key)) not in message:
                raise SilentError(message)
            assert store.read(other) is not None
    count.settle(len(DAMAGES))


def test_damaged_checkpoints(
    home: Home,
    count: Count,
    chance: random.Random,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    context, jobs = Context(), home.jobs(("ft", "grace"), EDITS[-1:])
    for number, damage in enumerate(DAMAGES):
        store = ResultStore(tmp_path / damage.__name__)
        paths = []
        for job in jobs:
            file = CheckpointFile(
                directory=store.checkpoints,
                key=job.cell.key(),
                numerics=numerics(torch.device("cpu")),
            )
            with pytest.raises(StoppedEarly):
                run_cell(job, context, StoppingCheckpointer(file, after=2))
            paths.append(file.path)
        job, path = jobs[number % 2], paths[number % 2]
        corrupt(path, damage, chance, paths[1 - number % 2].read_bytes())
        with count.trying(f"{damage.__name__} checkpoint"):
            capsys.readouterr()
            worker = Worker(store, context=context)
            assert worker.run(job).outcome == "done"
            message = capsys.readouterr().err
            if untimed(store.path(job.cell.key())) != home.whole[job.cell.key()]:
                raise SilentError(message)
            assert f"The checkpoint {path} " in message
    count.settle(len(DAMAGES))


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz"])
def test_damaged_exports(
    name: str,
    home: Home,
    count: Count,
    chance: random.Random,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, whole = tmp_path / name, home.whole
    assert main(["results", "export", str(path), "--out", str(home.directory / "whole")]) == 0
    for fault in corrupted(path, chance):
        out = tmp_path / f"out-{fault.partition(' ')[0]}"
        with count.trying(fault):
            capsys.readouterr()
            code = main(["results", "import", str(path), "--out", str(out)])
            printed = "".join(capsys.readouterr())
            imported = results(out)
            if code == 0 and imported != whole:  # bytes of a packed file's head do not matter
                raise SilentError(printed)
            assert imported in ({}, whole)
            assert imported or str(path) in printed
    count.settle(len(DAMAGES))


def test_damaged_references(
    home: Home,
    count: Count,
    chance: random.Random,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert home.whole
    monkeypatch.setattr("bench.store.reference.reference_folder", lambda: tmp_path)
    records = list(ResultStore(home.directory / "whole").records())
    path = write_reference(tmp_path / "table1.jsonl", records)
    sound = reference_records("table1")
    for fault in corrupted(path, chance):
        with count.trying(fault):
            try:
                read = reference_records("table1")
            except ValueError as error:
                assert "tables/reference/table1.jsonl" in str(error)  # noqa: PT017
            else:
                if read != sound:
                    raise SilentError("other records were read")
    count.settle(len(DAMAGES))

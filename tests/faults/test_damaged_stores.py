"""Records, checkpoints and exports that are damaged: named, and never read as data."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.core.stopping import StoppedEarly
from bench.evaluation.caches import numerics
from bench.evaluation.cells import run_cell
from bench.evaluation.context import Context
from bench.runner.worker import Worker
from bench.store.checkpoints import CheckpointFile
from bench.store.reference import reference_records, write_reference
from bench.store.results import OtherSchemaError, ResultStore
from tests.faults.damage import DAMAGES, spoil
from tests.faults.grid import EDITS, Home, results, untimed
from tests.faults.tally import Count, SilentError
from tests.support.stopping_checkpointer import StoppingCheckpointer

pytestmark = pytest.mark.faults


def test_damaged_records(
    home: Home,
    tally: defaultdict[str, Count],
    chance: random.Random,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    count, keys = tally["corruptions"], sorted(home.whole)
    for damage in DAMAGES:
        store = ResultStore(shutil.copytree(home.directory / "whole", tmp_path / damage.__name__))
        key, other = chance.sample(keys, 2)
        spoil(store.path(key), damage, chance, store.path(other).read_bytes())
        with count.trying(f"{damage.__name__} record"):
            capsys.readouterr()
            try:
                assert store.read(key) is None, "it was read"
                said = capsys.readouterr().err
            except OtherSchemaError as error:
                said = str(error)
            if str(store.path(key)) not in said:
                raise SilentError(said)
            assert store.read(other) is not None
    count.settle(len(DAMAGES))


def test_damaged_checkpoints(
    home: Home,
    tally: defaultdict[str, Count],
    chance: random.Random,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    count, context = tally["corruptions"], Context()
    jobs = home.jobs(("ft", "grace"), EDITS[-1:])
    for number, damage in enumerate(DAMAGES):
        job, other = jobs[number % 2], jobs[1 - number % 2]
        store = ResultStore(tmp_path / damage.__name__)
        for one in (job, other):
            file = checkpoint_of(one.cell.key(), store)
            with pytest.raises(StoppedEarly):
                run_cell(one, context, StoppingCheckpointer(file, after=2))
        spoil(file_of(job.cell.key(), store), damage, chance,
              file_of(other.cell.key(), store).read_bytes())  # fmt: skip
        with count.trying(f"{damage.__name__} checkpoint"):
            capsys.readouterr()
            worker = Worker(store, context=context)
            assert worker.run(job).outcome == "done"
            said = capsys.readouterr().err
            if untimed(store.path(job.cell.key())) != home.whole[job.cell.key()]:
                raise SilentError(said)
            assert f"The checkpoint {file_of(job.cell.key(), store)} " in said
    count.settle(len(DAMAGES))


def checkpoint_of(key: str, store: ResultStore) -> CheckpointFile:
    import torch

    made = numerics(torch.device("cpu"))
    return CheckpointFile(directory=store.checkpoints, key=key, numerics=made)


def file_of(key: str, store: ResultStore) -> Path:
    return checkpoint_of(key, store).path


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz"])
def test_damaged_exports(
    name: str,
    home: Home,
    tally: defaultdict[str, Count],
    chance: random.Random,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    count, whole = tally["corruptions"], home.whole
    sound = tmp_path / name
    assert main(["results", "export", str(sound), "--out", str(home.directory / "whole")]) == 0
    for damage in DAMAGES:
        path = tmp_path / damage.__name__ / name
        path.parent.mkdir()
        shutil.copy(sound, path)
        spoil(path, damage, chance)
        out = path.parent / "out"
        with count.trying(f"{damage.__name__} {name}"):
            capsys.readouterr()
            code = main(["results", "import", str(path), "--out", str(out)])
            said = "".join(capsys.readouterr())
            there = results(out)
            if code == 0 and there != whole:  # bytes of a packed file's head say nothing
                raise SilentError(said)
            assert there in ({}, whole)
            assert there or str(path) in said
    count.settle(len(DAMAGES))


def test_damaged_references(
    home: Home,
    tally: defaultdict[str, Count],
    chance: random.Random,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = tally["corruptions"]
    monkeypatch.setattr("bench.store.reference.reference_folder", lambda: tmp_path)
    records = list(ResultStore(home.directory / "whole").records())
    path = write_reference(tmp_path / "table1.jsonl", records)
    sound, content = reference_records("table1"), path.read_bytes()
    for damage in DAMAGES:
        path.write_bytes(content)
        spoil(path, damage, chance)
        with count.trying(f"{damage.__name__} reference"):
            try:
                found = reference_records("table1")
            except ValueError as error:
                assert "tables/reference/table1.jsonl" in str(error)  # noqa: PT017
            else:
                if found != sound:
                    raise SilentError("other records were read")
    count.settle(len(DAMAGES))

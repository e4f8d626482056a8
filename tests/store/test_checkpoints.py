from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.config import RunOptions
from bench.core.progress import StopFlag, StoppedEarly
from bench.evaluation.caches import difference, numerics
from bench.evaluation.checkpointing import Checkpoint, Checkpointer
from bench.store.running import CheckpointFile

HERE = {"package": "1", "libraries": {"torch": "2"}, "code": ["x"], "threads": 1}
CHECKPOINT = Checkpoint(
    progress={"block": 1, "seconds": [0.1, 1 / 3], "answer": "Otho é", "number": float("inf")},
    state={
        "weight": torch.arange(6.0).reshape(2, 3),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "none": torch.empty(0, 4),
        "scalar": torch.tensor(7),
        "flags": torch.tensor([True, False]),
    },
)


@pytest.fixture
def file(tmp_path: Path) -> CheckpointFile:
    return CheckpointFile(directory=tmp_path / "checkpoints", key="k" * 64, numerics=HERE)


def aside(file: CheckpointFile) -> list[str]:
    return sorted(path.name for path in file.directory.glob("*.corrupt*"))


def test_what_is_written_is_read(file: CheckpointFile) -> None:
    assert file.read() is None
    file.write(CHECKPOINT)
    stored = file.read()
    assert stored is not None
    assert stored.progress == CHECKPOINT.progress
    assert stored.state.keys() == CHECKPOINT.state.keys()
    for name, tensor in CHECKPOINT.state.items():
        assert stored.state[name].dtype == tensor.dtype
        assert torch.equal(stored.state[name], tensor)
    assert [path.name for path in file.directory.iterdir()] == [f"{file.key}.safetensors"]


def test_discarding_removes_it_and_what_killed_writers_left(file: CheckpointFile) -> None:
    other = dataclasses.replace(file, key="o" * 64)
    file.write(CHECKPOINT)
    other.write(CHECKPOINT)
    (file.directory / f".{file.path.name}.0123.partial").touch()
    file.discard()
    file.discard()
    assert [*file.directory.iterdir()] == [other.path]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[:-5],
    "emptied": lambda content: b"",
    "another bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "another header": lambda content: content.replace(b'\\"threads\\":1', b'\\"threads\\":2'),
    "another text": lambda content: content.replace(b'"block": 1', b'"block": 0'),
    "no tensors": lambda content: b"{}",
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_named_set_aside_and_not_read(
    file: CheckpointFile, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write(CHECKPOINT)
    damaged = DAMAGES[name](file.path.read_bytes())
    assert damaged != file.path.read_bytes()
    file.path.write_bytes(damaged)
    assert file.read() is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"The checkpoint {file.path} is damaged")
    assert aside(file) == [f"{file.key}.safetensors.corrupt"]
    assert (file.directory / aside(file)[0]).read_bytes() == damaged
    assert not file.path.exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"numerics": HERE | {"libraries": {"torch": "3"}}}, "with torch '2', here it is '3'"),
        ({"numerics": HERE | {"code": ["y"]}}, "by other code"),
        ({"numerics": HERE | {"threads": 2}}, "with threads 1, here it is 2"),
        ({"key": "o" * 64}, "of another cell"),
    ],
)
def test_a_checkpoint_of_another_cell_or_numerics_is_not_continued(
    file: CheckpointFile, changes: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write(CHECKPOINT)
    other = dataclasses.replace(file, **changes)
    file.path.rename(other.path)
    assert other.read() is None
    assert reason in capsys.readouterr().err
    assert len(aside(other)) == 1


def test_numerics_are_stable_and_know_the_arithmetic() -> None:
    here = numerics(torch.device("cpu"))
    assert difference(here, numerics(torch.device("cpu"))) is None
    assert "deterministic" in str(difference(here | {"deterministic": True}, here))
    other = here | {"hardware": here["hardware"] | {"processor": "Abacus"}}
    assert "with processor 'Abacus'" in str(difference(other, here))


def steps(checkpointer: Checkpointer, file: CheckpointFile, count: int) -> list[int]:
    """The steps after which a checkpoint was written."""
    written = []
    for number in range(1, count + 1):
        checkpoint = dataclasses.replace(CHECKPOINT, progress={"step": number})
        checkpointer.after_edit(partial(dataclasses.replace, checkpoint))
        stored = file.read()
        if stored is not None and stored.progress["step"] == number:
            written.append(number)
    return written


def test_checkpoints_come_by_edits_and_by_seconds(
    file: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert steps(Checkpointer(file), file, 5) == []  # a short cell
    assert not file.directory.exists()
    assert steps(Checkpointer(file, RunOptions(checkpoint_edits=3)), file, 7) == [3, 6]
    file.discard()
    now = [0.0]
    monkeypatch.setattr("bench.evaluation.checkpointing.time.monotonic", lambda: now[0])
    checkpointer = Checkpointer(file, RunOptions(checkpoint_seconds=10))
    written = []
    for now[0] in (9.0, 10.0, 19.0, 20.0, 21.0):
        written += [now[0]] if steps(checkpointer, file, 1) else []
        file.discard()
    assert written == [10.0, 20.0]


def test_writing_takes_a_small_share_of_the_time(
    file: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("bench.evaluation.checkpointing.time.monotonic", lambda: now[0])
    checkpointer = Checkpointer(file, RunOptions(checkpoint_seconds=0))

    def slowly() -> Checkpoint:
        now[0] += 2.0
        return CHECKPOINT

    checkpointer.after_edit(slowly)
    assert now[0] == 2.0
    now[0] = 41.9
    checkpointer.after_edit(slowly)
    assert now[0] == 41.9
    now[0] = 42.0
    checkpointer.after_edit(slowly)
    assert now[0] == 44.0


def test_a_stop_is_checkpointed_first_and_needs_no_file(file: CheckpointFile) -> None:
    stop = StopFlag()
    checkpointer = Checkpointer(file, stop=stop)
    checkpointer.check()
    stop.request_stop()
    with pytest.raises(StoppedEarly):
        checkpointer.after_batch(lambda: CHECKPOINT)
    assert file.read() is not None
    with pytest.raises(StoppedEarly):
        Checkpointer(stop=stop).check()
    with pytest.raises(StoppedEarly):
        Checkpointer(stop=stop).after_edit(lambda: CHECKPOINT)


def test_work_goes_on_where_no_checkpoint_can_be_written(
    file: CheckpointFile, capsys: pytest.CaptureFixture[str]
) -> None:
    file.directory.write_text("a file in the place of the folder")
    Checkpointer(file, RunOptions(checkpoint_edits=1)).after_edit(lambda: CHECKPOINT)
    assert capsys.readouterr().err.startswith(f"No checkpoint was written to {file.path}: ")

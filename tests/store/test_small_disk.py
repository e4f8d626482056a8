"""A real disk that is full, and one that is read-only, where such a thing can be mounted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.core.files import UnwritableError
from bench.runner import worker
from bench.runner.worker import Worker
from bench.store.results import Record, ResultStore, is_complete
from tests.support.fake_jobs import fake_job
from tests.support.stored_records import editing

SIZE = 64  # KiB


@pytest.fixture(autouse=True)
def no_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "provenance", lambda *_, **__: {})


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if not mounted("-t", "tmpfs", "-o", f"size={SIZE}k", "tmpfs", place):
        pytest.skip("mounting a small disk is not allowed here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def mounted(*arguments: object) -> bool:
    try:
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def fill(store: ResultStore, written: list[Record]) -> None:
    """Write records as long as there is room."""
    for record in map(editing, range(SIZE)):
        store.write(record)
        written.append(record)


def test_a_full_disk_leaves_what_is_finished(disk: Path, tmp_path: Path) -> None:
    store = ResultStore(disk)
    written: list[Record] = []
    with pytest.raises(UnwritableError, match="No space left on device"):
        fill(store, written)
    assert len(written) > 3
    assert list(store.records()) == sorted(written, key=lambda record: str(record["key"]))
    assert {path.suffix for path in disk.iterdir()} == {".json"}
    with pytest.raises(OSError, match="No space left on device"):
        (disk / "filler").write_bytes(b"x" * SIZE * 1024)
    job = fake_job(tmp_path / "log", seed=1000)
    with pytest.raises(UnwritableError, match="No space left on device"):
        Worker(store).run(job)
    (disk / "filler").unlink()
    store.path(written[0]["key"]).unlink()
    assert Worker(store).run(job).outcome == "done"
    assert not store.leases.exists()


def test_a_read_only_disk_is_read_and_names_what_is_damaged(
    disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ResultStore(disk)
    store.write(editing())
    store.path("0" * 64).write_text("damaged")
    if not mounted("-o", "remount,ro", disk):
        pytest.skip("remounting is not allowed here")
    assert [record["key"] for record in store.records() if is_complete(record)] == [
        editing()["key"]
    ]
    assert "cannot be set aside: Read-only file system." in capsys.readouterr().err
    with pytest.raises(UnwritableError, match=r"Read-only file system: .*claims"):
        Worker(store).run(fake_job(tmp_path / "log"))
    with pytest.raises(OSError, match="Records cannot be written"):
        store.prepare()

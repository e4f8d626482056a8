"""The `results` command on small stores."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from bench.evaluation.record_kinds import identity_of
from bench.store.results import Record, ResultStore, encoded, protocol_of, sealed
from bench.store.running import Leases
from tests.cli.commands import Cli, raising
from tests.support.stored_records import editing, everything, failure, store_of, timing

OLD = sealed(
    (base := editing(4))
    | {"cell": (cell := base["cell"] | {"metric_version": 7}), "key": identity_of(cell).key()}
)


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """Two complete records, a failed and a stale one, a damaged file and one set aside."""
    store = store_of(tmp_path / "results", editing(), timing(), failure(), OLD)
    store.path("0" * 64).write_text("damaged")
    (store.directory / f"{'1' * 64}.json.corrupt").write_text("damaged earlier")
    return store


def call(cli: Cli, *arguments: object, code: int = 0) -> list[str]:
    """The lines that `results` prints with these arguments."""
    said = cli("results", *arguments)
    assert said.code == code, said.err
    return (said.out + said.err).splitlines()


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_list_prints_what_each_file_is(store: ResultStore, cli: Cli) -> None:
    before = names(store.directory)
    lines = call(cli, "list")
    states = sorted(line.split()[0] for line in lines[:-1])
    assert states == ["complete", "complete", "corrupt", "corrupt", "failed", "stale"]
    assert lines[-1] == "6 records"
    (line,) = (text for text in lines if text.startswith("complete") and "editing" in text)
    for part in (editing()["key"][:12], "ft", "zsre", "2 edits", "seed 0", "mini-llama", "2026-"):
        assert part in line
    assert "zsre/blocks/v2" in line
    assert any(protocol_of(timing()) in text for text in lines)
    assert f"Avg {100 / 3:.2f}" in line
    assert any("metric protocol 7, now 2" in line for line in lines)
    assert names(store.directory) == before  # looking changes nothing


def test_list_survives_records_of_odd_names(tmp_path: Path, cli: Cli) -> None:
    odd = editing()["cell"] | {"editor": {"a": 1}}
    strange = editing() | {"cell": odd, "key": identity_of(odd).key()}
    store_of(tmp_path / "results", strange, editing(1, measures={"retention": "v1"}))
    line, count = call(cli, "list", "--editor", "ft")
    assert ("with retention" in line, count) == (True, "1 record")
    assert any(line.startswith("corrupt") for line in call(cli, "list"))


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--state", "failed"], 1),
        (["--state", "corrupt"], 2),
        (["--editor", "RECIPE"], 1),
        (["--editors", "ft"], 3),
        (["--dataset", "cf"], 1),
        (["--dataset", "zsre", "--state", "stale"], 1),
        (["--editor", "grace"], 0),
    ],
)
def test_list_filters(store: ResultStore, cli: Cli, options: list[str], count: int) -> None:
    lines = call(cli, "list", "--json", *options)
    assert len(json.loads("\n".join(lines))) == count
    assert len(call(cli, "list", *options)) == count + 1


def test_show_takes_the_beginning_of_a_key(store: ResultStore, cli: Cli) -> None:
    text = "\n".join(call(cli, "show", editing()["key"][:8]))
    for part in (
        "ft on zsre, 2 edits, mini-llama, seed 0",
        editing()["digest"],
        "state    complete",
        "protocol zsre/blocks/v2",
        "scores/after/teacher_forced/token_accuracy",
        "package  0.1.0",
        "worst sample counterfact/test/",
        "The mother tongue of Lumo Vand is",
    ):
        assert part in text
    assert "target_ids" not in text
    shown = json.loads("\n".join(call(cli, "show", editing()["key"], "--json")))
    assert (shown["key"], shown["protocol"]) == (editing()["key"], "zsre/blocks/v2")


def test_show_has_the_traceback_of_a_failed_cell(store: ResultStore, cli: Cli) -> None:
    text = "\n".join(call(cli, "show", failure()["key"]))
    assert "error    MemoryError: too much" in text
    assert "Traceback (most recent call last):" in text


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("ffffffffff", "has a key that begins with ffffffffff"),
        ("../../etc/passwd", "A key is up to 64 of the digits 0-9 and a-f"),
        ("", "KEY: expected a value, got none."),
        ("*", "A key is up to 64"),
        ("0" * 64, "is no result record"),
    ],
)
def test_show_refuses_other_keys(store: ResultStore, cli: Cli, key: str, sentence: str) -> None:
    (line,) = call(cli, "show", key, code=2)
    assert sentence in line


def test_show_wants_one_key(tmp_path: Path, cli: Cli) -> None:
    store = store_of(tmp_path, *map(editing, range(17)))
    first = sorted(path.name[0] for path in store.paths())
    twice = next(digit for digit in first if first.count(digit) > 1)
    (line,) = call(cli, "show", twice, "--out", tmp_path, code=2)
    assert f"keys begin with {twice}" in line


def test_verify_names_every_problem(tmp_path: Path, cli: Cli, store: ResultStore) -> None:
    good = store_of(tmp_path / "good", *everything())
    (line,) = call(cli, "verify", "--out", good.directory)
    assert line == "5 records, 0 with problems; 0 damaged files set aside"
    wrong = editing(1)
    wrong["summary"]["samples"] = 3
    odd = editing(2) | {"comment": "hello"}
    for record in (wrong, odd):
        store.put(record["key"], encoded(record))  # sealed, so that the digest holds
    lines = call(cli, "verify", code=1)
    assert lines[-1] == "7 records, 3 with problems; 1 damaged files set aside"
    text = "\n".join(lines)
    assert f"results/{wrong['key']}.json: summary/samples is 3, but 2 follows" in text
    assert "comment: " in text
    assert f"results/{'0' * 64}.json is no result record" in text


def test_export_and_import_give_equal_stores(tmp_path: Path, cli: Cli) -> None:
    store = store_of(tmp_path / "results", *everything())
    for name in ("some.jsonl", "some.jsonl.gz"):
        (printed,) = call(cli, "export", tmp_path / name)
        assert printed == f"written: {tmp_path / name}, 4 records"  # the failed one is not
        other = tmp_path / f"of {name}"
        (printed,) = call(cli, "import", tmp_path / name, "--out", other)
        assert printed == "imported: 4, there already: 0, refused: 0"
        (printed,) = call(cli, "import", tmp_path / name, "--out", other)
        assert printed == "imported: 0, there already: 4, refused: 0"
        for record in everything()[:4]:
            taken = ResultStore(other).path(record["key"])
            assert taken.read_bytes() == store.path(record["key"]).read_bytes()
    plain = (tmp_path / "some.jsonl").read_bytes()
    assert gzip.decompress((tmp_path / "some.jsonl.gz").read_bytes()) == plain
    (refused,) = call(cli, "export", tmp_path / "some.jsonl", code=2)
    assert "is there already and is not overwritten" in refused
    assert (tmp_path / "some.jsonl").read_bytes() == plain
    call(cli, "export", tmp_path / "f.jsonl", "--state", "failed")
    (printed,) = call(cli, "import", tmp_path / "f.jsonl", "--out", tmp_path / "failed")
    assert printed.startswith("imported: 1,")


def test_a_record_that_is_read_twice_is_one(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "twice.jsonl").write_bytes(line_of(editing()) * 2)
    (printed,) = call(cli, "import", tmp_path / "twice.jsonl", "--out", tmp_path / "taken")
    assert printed == "imported: 1, there already: 1, refused: 0"


def line_of(record: Record) -> bytes:
    return encoded(record) + b"\n"


def unpaired() -> Record:
    record = editing(5)
    record["summary"]["blocks"] = 2
    return record


BAD: dict[str, tuple[bytes, str]] = {
    "no json": (b"hello\n", "line 2 is no result record."),
    "not utf-8": (b"\xff\xfe\n", "line 2 is no result record."),
    "nan": (line_of(editing(5)).replace(b'"samples":2', b'"samples":NaN'), "no result record"),
    "infinity": (line_of(editing(5)).replace(b'"seed":5', b'"seed":Infinity'), "no result record"),
    "nested": (b"[" * 100_000 + b"\n", "line 2 is no result record."),
    "altered": (line_of(editing(5)).replace(b'"Orrinese"', b'"Orrinesa"'), "digest is another"),
    "another key": (line_of(editing() | {"key": "../../x"}), "holds another cell than its key"),
    "another shape": (line_of(editing(5) | {"comment": 1}), "comment: "),
    "other scores": (line_of(unpaired()), "summary/blocks is 2, but 1 follows from its rows."),
    "another schema": (line_of(editing(5) | {"schema": 3}), "record schema 3, expected 1 or 2."),
    "no rows": (line_of({k: v for k, v in editing(5).items() if k != "rows"}), "has no rows"),
    "two of a cell": (
        line_of(editing() | {"data": {"samples": 3, "other": 1}}),
        "line 2 has another record of a cell that was read before.",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_records_are_refused_with_reason(tmp_path: Path, cli: Cli, name: str) -> None:
    content, reason = BAD[name]
    file, out = tmp_path / "bad.jsonl", tmp_path / "deep" / "store"
    file.write_bytes(line_of(editing()) + content + line_of(timing()))
    refused, error = call(cli, "import", file, "--out", out, code=2)
    assert refused.startswith(f"refused: {file}, line 2")
    assert reason in refused
    assert "1 of 3 records were refused, so none is imported" in error
    assert names(tmp_path) == ["bad.jsonl"]
    lines = call(cli, "import", file, "--partial", "--out", out, code=1)
    assert "imported: 2, there already: 0, refused: 1" in lines
    assert names(out) == sorted(f"{record['key']}.json" for record in (editing(), timing()))


def test_import_spares_other_complete_records(tmp_path: Path, cli: Cli) -> None:
    mine = sealed(editing() | {"data": {"samples": 3, "mine": True}})
    store = store_of(tmp_path / "results", mine)
    file = tmp_path / "theirs.jsonl"
    file.write_bytes(line_of(editing()))
    refused, _ = call(cli, "import", file, code=2)
    assert "another complete record of cell" in refused
    assert store.read(mine["key"]) == mine
    call(cli, "import", file, "--overwrite")
    assert store.read(mine["key"]) == editing()


def test_import_replaces_failed_records(tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "good.jsonl"
    good = editing(9, hparams={"lr": 1})
    failed = sealed(failure() | {"cell": good["cell"], "key": good["key"]})
    store = store_of(tmp_path / "results", failed)
    file.write_bytes(line_of(good))
    call(cli, "import", file)
    assert store.read(good["key"]) == good


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_FILE"])
def test_import_reads_no_file_without_end(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    file = tmp_path / "bomb.jsonl.gz"
    file.write_bytes(gzip.compress(b"[" * 2_000 if limit == "MAX_BYTES" else b"[\n" * 1_000))
    monkeypatch.setattr(f"bench.store.exchange.{limit}", 1_000)
    lines = call(cli, "import", file, code=2)
    assert "is larger than records are" in lines[-1]


def test_import_names_a_damaged_package(tmp_path: Path, cli: Cli) -> None:
    file = tmp_path / "some.jsonl.gz"
    for content in (b"hello", gzip.compress(line_of(editing()))[:-20]):
        file.write_bytes(content)
        lines = call(cli, "import", file, code=2)
        assert f"{file} cannot be unpacked" in lines[-1]


def test_a_full_disk_leaves_no_half_export(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_of(tmp_path / "results", editing())
    monkeypatch.setattr(os, "fsync", raising(OSError(28, "No space left on device")))
    (line,) = call(cli, "export", tmp_path / "x.jsonl", code=2)
    assert "No space left on device" in line
    assert names(tmp_path) == [f"results/{editing()['key']}.json"]


def put(path: Path, content: str = "x" * 10, *, age: float = 10_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    now = path.stat().st_mtime
    os.utime(path, (now - age, now - age))
    return path


def test_gc_removes_what_nothing_needs(store: ResultStore, cli: Cli) -> None:
    folder, done = store.directory, editing()["key"]
    files_before = names(folder)
    put(folder / f".{done}.json.abc.partial")
    young = put(folder / f".{done}.json.def.partial", age=0)
    put(store.leases / f"{'2' * 64}.abc.removed")
    put(store.checkpoints / done / "state.safetensors")
    put(store.checkpoints / f"{done}.json")
    undone = put(store.checkpoints / failure()["key"] / "state.safetensors")
    foreign = put(store.checkpoints / "mine.txt")
    lease = Leases(store.leases).acquire(timing()["key"])
    assert lease is not None
    busy = put(store.checkpoints / timing()["key"] / "state.safetensors")  # is computed again now
    before = names(folder)
    assert call(cli, "gc", "--dry-run")[-1] == "would remove 4 files and folders, 40 bytes"
    assert names(folder) == before
    assert call(cli, "gc")[-1] == "removed 4 files and folders, 40 bytes"
    leased = store.leases / f"{timing()['key']}.json"
    stay = [str(path.relative_to(folder)) for path in (young, undone, foreign, busy, leased)]
    assert names(folder) == sorted([*files_before, *stay])
    lease.release()


def test_gc_removes_leases_of_crashed_processes_alone(
    store: ResultStore, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, speaking = (put(store.leases / f"{digit * 64}.json") for digit in "23")
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        speaking.write_text("alive")
        monkeypatch.setattr("bench.store.running.PATIENCE", 0)

    monkeypatch.setattr("bench.cli.results.time.sleep", sleep)
    clock = iter([0.0] * 4 + [100.0] * 20)
    whole = Leases.__init__
    monkeypatch.setattr(
        Leases, "__init__", lambda self, folder: whole(self, folder, clock=lambda: next(clock))
    )
    lines = call(cli, "gc")
    assert waited == [61.0]
    assert any("2 leases are of other machines; watching them for 60 s." in text for text in lines)
    assert not silent.exists()
    assert speaking.exists()


def test_gc_removes_what_a_killed_process_left_of_a_stored_cell(
    store: ResultStore, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = editing()["key"]
    lease = put(store.leases / f"{done}.json")
    checkpoint = put(store.checkpoints / f"{done}.safetensors")
    monkeypatch.setattr(Leases, "is_stale", lambda *_: True)
    monkeypatch.setattr(Leases, "_stale", lambda _, path: path.read_bytes())
    lines = call(cli, "gc")
    assert lines[-1].startswith("removed 2 files and folders")
    assert not lease.exists()
    assert not checkpoint.exists()


@pytest.mark.parametrize(
    ("option", "gone"),
    [("--stale", OLD["key"] + ".json"), ("--corrupt", f"{'1' * 64}.json.corrupt")],
)
def test_gc_removes_more_on_request(store: ResultStore, cli: Cli, option: str, gone: str) -> None:
    before = names(store.directory)
    call(cli, "gc")
    assert names(store.directory) == before
    call(cli, "gc", option)
    assert names(store.directory) == [name for name in before if name != gone]


def test_gc_does_not_follow_links(tmp_path: Path, store: ResultStore, cli: Cli) -> None:
    precious = put(tmp_path / "precious" / "file")
    store.checkpoints.mkdir()
    (store.checkpoints / editing()["key"]).symlink_to(precious.parent)
    call(cli, "gc")
    assert precious.exists()
    assert list(store.checkpoints.iterdir()) == []


@pytest.mark.parametrize("action", [["list"], ["show", "ab"], ["verify"], ["gc"], ["export", "f"]])
def test_a_store_that_is_not_there_is_named(tmp_path: Path, cli: Cli, action: list[str]) -> None:
    (line,) = call(cli, *action, "--out", tmp_path / "none", code=2)
    assert f"No records at {tmp_path / 'none'}" in line

"""The committed files against their manifest: every way in which one can be another."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.checks.regression.committed import MANIFEST, committed, manifest
from bench.cli.arguments import config_of
from bench.cli.main import _parser
from bench.core.files import write_text
from bench.evaluation.record_kinds import identity_of
from bench.runner.planning import plan
from bench.store import reference
from bench.store.reference import COVARIANCE, reference_folder, reference_records, write_reference
from bench.store.results import SEALED_SINCE, Record, failed, sealed


def test_every_committed_record_is_sealed_and_none_is_absent() -> None:
    outcomes = list(committed())
    assert {each.verdict for each in outcomes} == {"equal"}, outcomes
    names = {path.name for path in reference_folder().iterdir()}
    assert {each.cell for each in outcomes} == names - {MANIFEST, "claims.json"}


def test_the_manifest_counts_the_cells_of_every_table() -> None:
    counts = json.loads((reference_folder() / MANIFEST).read_text("utf-8"))
    cells = counts["table5.jsonl"]["cells"]
    assert cells["mini-gptj, 100 edits, recipe"] == 15  # three data sets, five seeds
    for name in (name for name in counts if name.endswith(".jsonl")):
        records = reference_records(name.partition(".")[0])
        assert sum(counts[name]["cells"].values()) == len(records)
        assert {record["schema"] for record in records} == {SEALED_SINCE}


@pytest.mark.parametrize("name", ["table1-recent", "table2-lm-eval", "table5", COVARIANCE])
def test_the_commands_of_the_manifest_are_of_all_cells(name: str) -> None:
    origin = json.loads((reference_folder() / MANIFEST).read_text("utf-8"))[f"{name}.jsonl"]
    lines = [shlex.split(line)[3:] for line in origin["commands"]]
    configs = [config_of(_parser(line).parse_args(line)) for line in lines]
    jobs = [job for config in configs for job in plan(config).jobs]
    records = reference_records(name)
    assert {job.cell.key() for job in jobs} == {record["key"] for record in records}
    assert origin["commits"] == sorted({r["provenance"]["git"]["commit"] for r in records})
    assert origin["processors"] == ["AMD EPYC, AVX2"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reference of one file, with its manifest."""
    own = tmp_path / "reference"
    own.mkdir()
    shutil.copy(reference_folder() / "table2.jsonl", own)
    monkeypatch.setattr(reference, "tables_folder", lambda name: tmp_path / name)
    write_text(own / MANIFEST, json.dumps(manifest(own)))
    return own


def lines(folder: Path) -> list[Record]:
    return [json.loads(text) for text in (folder / "table2.jsonl").read_text("utf-8").splitlines()]


def write(folder: Path, records: list[Record]) -> None:
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "table2.jsonl").write_text(text, "utf-8")


def name_of(record: Record) -> str:
    edits = record["cell"]["edits"]
    return f"mini-llama, {edits['n_edits']} edits, {edits['editor']}"


def only(folder: Path) -> str:
    (outcome,) = committed()
    assert (outcome.verdict, outcome.good) == ("differs", False)
    return f"{outcome.cell} {outcome.detail}"


def test_an_altered_score_is_noticed(folder: Path) -> None:
    records = lines(folder)
    for task in records[0]["summary"]["tasks"].values():
        task["score"] *= 0.7
    write(folder, records)
    assert "table2.jsonl, line 1 is not what was written: its digest is another" in only(folder)
    write_reference(folder / "table2.jsonl", [records[0], *lines(folder)[1:]])  # sealed again
    assert "is not the file whose digest is in manifest.json" in only(folder)


def test_a_lost_record_is_noticed(folder: Path) -> None:
    lost = lines(folder)[1]
    write(folder, [record for record in lines(folder) if record != lost])
    assert f"has 0 cells of {name_of(lost)}, expected 1 (and 1 more)" in only(folder)


def test_a_record_twice_is_noticed(folder: Path) -> None:
    records = lines(folder)
    write(folder, [records[1], *records])
    assert f"has 2 cells of {name_of(records[1])}, expected 1" in only(folder)


def without_seal(record: Record) -> Record:
    return {name: value for name, value in record.items() if name != "digest"} | {"schema": 1}


def that_failed(record: Record) -> Record:
    error = failed(identity_of(record["cell"]), record["editor"], {}, RuntimeError("no luck"))
    return sealed(error)


def of_another_form(record: Record) -> Record:
    return sealed(record | {"summary": record["summary"] | {"more": 1}})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (without_seal, "line 1 has no digest"),
        (that_failed, "line 1 is of a cell that failed: RuntimeError: no luck"),
        (of_another_form, "line 1 summary/more: Extra inputs are not permitted"),
        (lambda _: {}, "table2.jsonl, line 1 is no result record"),
    ],
)
def test_a_record_that_tables_should_not_have_is_noticed(
    change: Any, fault: str, folder: Path
) -> None:
    first, *rest = lines(folder)
    write(folder, [change(first), *rest])
    assert fault in only(folder)


def test_files_and_manifest_belong_together(folder: Path) -> None:
    shutil.copy(folder / "table2.jsonl", folder / "table9.jsonl")
    assert [each.detail for each in committed() if not each.good] == ["is not in manifest.json"]
    (folder / "table9.jsonl").unlink()
    (folder / "table2.jsonl").unlink()
    assert "cannot be read" in only(folder)
    (folder / MANIFEST).unlink()
    assert only(folder).startswith("manifest.json cannot be read")

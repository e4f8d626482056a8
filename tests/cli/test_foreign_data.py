"""What `run`, `train` and `try` say of files that are not as the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.commands import Cli, Refused, one_cell, records
from tests.datasets.example_rows import counterfact_row, write

LONG = "word " * 300


def with_data(arguments: list[str], directory: Path) -> list[str]:
    at = arguments.index("--data-dir") + 1
    return [*arguments[:at], str(directory), *arguments[at + 1 :]]


@pytest.mark.parametrize("metrics", ["all", "teacher_forced"])
def test_rows_beyond_the_context_are_left_out_before_the_first_cell_and_named(
    metrics: str, run_arguments: list[str], cli: Cli, refused: Refused, tmp_path: Path
) -> None:
    rows = [counterfact_row(target_new=f"T{i}") for i in range(3)]
    write(tmp_path / "d", "counterfact", "test", [*rows, counterfact_row(locality_prompt=LONG)])
    arguments = [*with_data(one_cell(run_arguments), tmp_path / "d"), "--metrics", metrics]
    said = cli(*arguments, "--limit", "4")
    assert said.code == 0
    assert "CF: skipped: 1 x row that does not fit the context of 160 tokens of tiny.\n" in said.err
    assert "CF: too long: row 3, locality (neighbour), of " in said.err
    (record,) = records()
    assert record["data"]["samples"] == len(record["rows"]) == 3
    sentence = refused(*arguments, "--edits", "4")
    assert "has 3 samples in" in sentence
    assert "row 3, locality (neighbour)" in sentence


def test_counts_of_subjects_are_shown_for_editors_that_use_them(
    run_arguments: list[str], cli: Cli, tmp_path: Path
) -> None:
    rows = [counterfact_row(prompt="{} speaks"), counterfact_row(prompt="He speaks")]
    write(tmp_path / "d", "counterfact", "test", rows)
    arguments = with_data(one_cell(run_arguments), tmp_path / "d")
    filled, lost = "1 x prompt whose {} took the subject", "1 x subject not in the prompt"
    said = cli(*arguments, "--limit", "1")
    assert f"CF: fallback: {filled}." in said.err
    assert lost not in said.err
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(f"{i} and {i * i} make {i + i * i}" for i in range(999)))
    said = cli(*arguments, "--limit", "1", "--editors", "rome", "--corpus", corpus)
    assert f"CF: fallback: {lost}." in said.err


def test_a_byte_order_mark_in_a_pipe_is_no_question(
    backbone: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("\ufeffedit Ann works in => Bern\n"))
    said = cli("try", "--editor", "ft", "--backbone", backbone)
    assert "edit 1    Ann works in => Bern" in said.out


def test_a_byte_order_mark_in_front_of_records_is_passed_over(
    run_arguments: list[str], cli: Cli, tmp_path: Path
) -> None:
    cli(*one_cell(run_arguments))
    cli("results", "export", "all.jsonl", "--out", "out")
    marked = tmp_path / "marked.jsonl"
    marked.write_bytes(b"\xef\xbb\xbf" + Path("all.jsonl").read_bytes())
    assert cli("results", "import", marked, "--out", "other").code == 0
    assert json.loads(next(Path("other").glob("*.json")).read_text())["rows"]

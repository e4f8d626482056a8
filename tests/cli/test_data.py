"""`data verify` and `data show`."""

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.datasets import get_dataset
from bench.datasets.base import PublishedFile, Split, git_blob_id
from tests.datasets.example_rows import EXAMPLE_ROWS, FILE_NAMES, write, zsre_row


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def publish(monkeypatch: pytest.MonkeyPatch, split: Split, path: Path, rows: int) -> None:
    """Declare a file as the published one of ZSRE."""
    zsre = get_dataset("zsre")
    file = PublishedFile(
        path=path.name, variants=(), rows=rows, git_blob=git_blob_id(path.read_bytes())
    )
    monkeypatch.setattr(type(zsre), "files", {**zsre.files, split: file})


def test_part_of_every_set_is_reported_and_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, split in FILE_NAMES:
        write(tmp_path, key, split, [EXAMPLE_ROWS[key]()])
    assert main(["data", "verify", str(tmp_path)]) == 0
    out = lines_of(capsys)
    assert out[0] == "set split state rows published git blob file"
    assert out[1].startswith("CF train partial 1 10,000 ")
    assert "ZSRE test: 19,008 rows fewer than the published file" in out


def test_the_published_file_is_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "test"):
        path = write(tmp_path, "zsre", split, [zsre_row(), zsre_row(alt="")])
        publish(monkeypatch, split, path, rows=2)
    assert main(["data", "verify", str(tmp_path), "--datasets", "ZSRE"]) == 0
    assert [line.split()[2] for line in lines_of(capsys)[1:3]] == ["full", "full"]


def test_other_content_with_as_many_rows_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "zsre", "train", [zsre_row()])
    path = write(tmp_path, "zsre", "test", [zsre_row()])
    publish(monkeypatch, "test", path, rows=1)
    write(tmp_path, "zsre", "test", [zsre_row(alt="changed")])
    assert main(["data", "verify", str(tmp_path), "--datasets", "zsre"]) == 1
    out = lines_of(capsys)
    assert out[2].startswith("ZSRE test different 1 1 ")
    assert any(line.startswith("ZSRE test: not the published content") for line in out)


def test_missing_and_malformed_files_are_wrong_and_the_rest_is_still_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "zsre", "test", [zsre_row(src=1)])
    write(tmp_path, "counterfact", "test", [EXAMPLE_ROWS["counterfact"]()])
    assert main(["data", "verify", str(tmp_path), "--datasets", "cf,zsre"]) == 1
    out = lines_of(capsys)
    assert [line.split()[:3] for line in out[1:5]] == [
        ["CF", "train", "missing"],
        ["CF", "test", "partial"],
        ["ZSRE", "train", "missing"],
        ["ZSRE", "test", "unusable"],
    ]
    assert any("row 0, field 'src': wanted a string, got the number 1." in line for line in out)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["verify", "nowhere"], "nowhere"),
        (["verify", ".", "--datasets", " ,"], "Available: counterfact"),
        (["show", "counterfct"], "'counterfact'"),
    ],
)
def test_bad_input(words: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *words]) == 2
    assert named in capsys.readouterr().err


def test_show_prints_source_revision_licence_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "CF"]) == 0
    out = capsys.readouterr().out
    cf = get_dataset("cf")
    for text in (cf.source, cf.revision, cf.licence, "counterfact-edit.json", "10,000 rows"):
        assert text in out

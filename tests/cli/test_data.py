"""`data verify` and `data show`."""

from pathlib import Path

import pytest

from bench.datasets import get_dataset
from bench.datasets.base import PublishedFile, Split, git_blob_id
from tests.cli.commands import Cli
from tests.datasets.example_rows import EXAMPLE_ROWS, FILE_NAMES, write, zsre_row


def verified(cli: Cli, code: int, *options: str) -> list[str]:
    """The lines about the data files here, with single spaces."""
    said = cli("data", "verify", ".", *options)
    assert said.code == code
    return [" ".join(line.split()) for line in said.out.splitlines()]


def publish(monkeypatch: pytest.MonkeyPatch, split: Split, path: Path, rows: int) -> None:
    """Declare a file as the published one of ZSRE."""
    zsre = get_dataset("zsre")
    file = PublishedFile(
        path=path.name, variants=(), rows=rows, git_blob=git_blob_id(path.read_bytes())
    )
    monkeypatch.setattr(type(zsre), "files", {**zsre.files, split: file})


def test_part_of_every_set_is_reported_and_accepted(tmp_path: Path, cli: Cli) -> None:
    for key, split in FILE_NAMES:
        write(tmp_path, key, split, [EXAMPLE_ROWS[key]()])
    out = verified(cli, 0)
    assert out[0] == "set split state rows published git blob file"
    assert out[1].startswith("ZSRE train partial 1 162,555 ")
    assert "ZSRE test: 19,008 rows fewer than the published file" in out


def test_the_published_file_is_full_and_other_content_with_as_many_rows_is_wrong(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "test"):
        path = write(tmp_path, "zsre", split, [zsre_row(), zsre_row(alt="")])
        publish(monkeypatch, split, path, rows=2)
    out = verified(cli, 0, "--datasets", "ZSRE")
    assert [line.split()[2] for line in out[1:3]] == ["full", "full"]
    write(tmp_path, "zsre", "test", [zsre_row(), zsre_row(alt="changed")])
    out = verified(cli, 1, "--datasets", "zsre")
    assert out[2].startswith("ZSRE test different 2 2 ")
    assert any(line.startswith("ZSRE test: not the published content") for line in out)


def test_bad_files_are_wrong_and_the_rest_is_checked(tmp_path: Path, cli: Cli) -> None:
    write(tmp_path, "zsre", "test", [zsre_row(src=1)])
    write(tmp_path, "counterfact", "test", [EXAMPLE_ROWS["counterfact"]()])
    out = verified(cli, 1, "--datasets", "cf,zsre")
    assert [line.split()[:3] for line in out[1:5]] == [
        ["CF", "train", "missing"],
        ["CF", "test", "partial"],
        ["ZSRE", "train", "missing"],
        ["ZSRE", "test", "unusable"],
    ]
    assert any("row 0, field 'src': wanted a string, got the number 1." in line for line in out)


def test_show_prints_source_revision_licence_and_files(cli: Cli) -> None:
    out = cli("data", "show", "CF").out
    cf = get_dataset("cf")
    for text in (cf.source, cf.revision, cf.licence, "counterfact-edit.json", "10,000 rows"):
        assert text in out

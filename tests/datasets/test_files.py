"""Files are found by their published name, in any usual layout, or by a declared variant."""

import os
from pathlib import Path

import pytest

from bench.datasets import Split, get_dataset
from bench.datasets.base import git_blob_id, locate
from tests.datasets.example_rows import ripe_row, write, zsre_row

ZSRE_TEST = get_dataset("zsre").files["test"]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[]")
    return path


@pytest.mark.parametrize(
    "place",
    [
        "zsre_mend_eval.json",
        "data/evaluation/zsre/zsre_mend_eval.json",
        "zsre/zsre_mend_eval.json",
        "zsre/zsre_mend_eval_1032_reconstructed.json",
        "RECIPE/data/evaluation/zsre/zsre_mend_eval.json",
    ],
)
def test_layouts(place: str, tmp_path: Path) -> None:
    path = touch(tmp_path / place)
    touch(tmp_path / "zsre" / "zsre_mend_train.json")
    touch(tmp_path / "zsre" / "other.json")
    assert locate(ZSRE_TEST, tmp_path) == path


@pytest.mark.parametrize("split", ["train", "test"])
def test_variant_names_of_ripe_tell_the_splits_apart(split: Split, tmp_path: Path) -> None:
    for part in ("train", "test"):
        touch(tmp_path / "ripe" / f"ripe_style_{part}_from_knowedit_{part}_cf.json")
    path = locate(get_dataset("ripe").files[split], tmp_path)
    assert path.name.startswith(f"ripe_style_{split}")


def test_the_published_name_goes_before_a_variant(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "zsre_mend_eval_small.json")
    path = touch(tmp_path / "b" / "zsre_mend_eval.json")
    assert locate(ZSRE_TEST, tmp_path) == path


def test_two_candidates_are_an_error_that_names_them(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "zsre_mend_eval.json")
    touch(tmp_path / "b" / "zsre_mend_eval.json")
    with pytest.raises(ValueError, match=r"a/zsre_mend_eval.*, b/zsre_mend_eval"):
        locate(ZSRE_TEST, tmp_path)


def test_a_link_to_the_same_file_is_no_second_candidate(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "zsre_mend_eval.json")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert locate(ZSRE_TEST, tmp_path).name == "zsre_mend_eval.json"


@pytest.mark.parametrize("place", [".git/zsre_mend_eval.json", "1/2/3/4/5/zsre_mend_eval.json"])
def test_hidden_and_deep_folders_are_not_searched(place: str, tmp_path: Path) -> None:
    touch(tmp_path / place)
    with pytest.raises(FileNotFoundError, match=r"^No zsre_mend_eval\.json"):
        locate(ZSRE_TEST, tmp_path)


def test_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="nowhere"):
        get_dataset("zsre").load("test", tmp_path / "nowhere")


def test_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def closed_scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed_scandir)
    with pytest.raises(PermissionError, match="closed"):
        locate(ZSRE_TEST, tmp_path)


def test_git_blob_id_of_known_contents() -> None:
    # Both are what `git hash-object --stdin` prints.
    assert git_blob_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert git_blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_samples_of_both_splits_come_from_their_own_files(tmp_path: Path) -> None:
    write(tmp_path, "zsre", "train", [zsre_row(alt="train target")])
    write(tmp_path, "zsre", "test", [zsre_row(alt="test target")])
    write(tmp_path, "ripple_edits", "test", [ripe_row()])
    zsre = get_dataset("zsre")
    assert zsre.load("train", tmp_path).samples[0].request.target == "train target"
    assert zsre.load("test", tmp_path).samples[0].request.target == "test target"

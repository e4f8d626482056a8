from __future__ import annotations

from pathlib import Path

import pytest

from bench.report.pages import MARK, write_folder

REPORT = {"index.html": b"new", "data/a.js": b"1", MARK: b"{}"}


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_a_folder_appears_whole_and_alone(tmp_path: Path) -> None:
    out = write_folder(tmp_path / "deep" / "report", REPORT)
    assert {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.*")} == REPORT
    assert names(out.parent) == ["report"]


def test_an_earlier_report_and_an_empty_folder_are_replaced(tmp_path: Path) -> None:
    out = tmp_path / "report"
    out.mkdir()
    write_folder(out, {"index.html": b"old", "gone.html": b"old", MARK: b"{}"})
    write_folder(out, REPORT)
    assert names(out) == ["data", "index.html", MARK]
    assert (out / "index.html").read_bytes() == b"new"
    assert names(tmp_path) == ["report"]


@pytest.mark.parametrize(
    ("mine", "sentence"),
    [
        ("report/thesis.tex", r"is no report that could be replaced: it holds files"),
        ("report", r"is a file; name a folder with --out"),
    ],
)
def test_what_is_no_report_is_refused(mine: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / mine
    path.parent.mkdir(exist_ok=True)
    path.write_text("years of work")
    with pytest.raises(ValueError, match=sentence):
        write_folder(tmp_path / "report", REPORT)
    assert path.read_text() == "years of work"
    assert names(path.parent) == [path.name]


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_no_half_folder(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, written = tmp_path / "report", Path.write_bytes
    if there:
        write_folder(out, {"index.html": b"old", MARK: b"{}"})

    def full(path: Path, content: bytes) -> int:
        if path.name == "a.js":
            raise OSError(28, "No space left on device", str(path))
        return written(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_folder(out, REPORT)
    assert names(tmp_path) == (["report"] if there else [])
    assert not there or (out / "index.html").read_bytes() == b"old"


def test_the_earlier_report_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_folder(tmp_path / "report", {"index.html": b"old", MARK: b"{}"})
    rename = Path.rename

    def refused(path: Path, target: Path) -> Path:
        if path.name.endswith(".partial"):
            raise PermissionError(13, "Permission denied", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(PermissionError):
        write_folder(out, REPORT)
    assert (out / "index.html").read_bytes() == b"old"
    assert names(tmp_path) == ["report"]

"""Lines of running text."""

from __future__ import annotations

from pathlib import Path

import pytest

from editors.parts.corpus import long_lines


def test_short_lines_and_headings_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    running = " ".join(["word"] * 21)
    heading = "= " + " ".join(["word"] * 30) + " ="
    short = " ".join(["word"] * 20)
    path.write_text(f"{short}\n {running} \n{heading}\n\nb {running}\n", encoding="utf-8")
    assert long_lines(path) == (running, f"b {running}")


def test_a_file_without_running_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    path.write_text("Too short.\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no line of at least 21 words"):
        long_lines(path)

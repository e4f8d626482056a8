"""Lines of running text."""

from __future__ import annotations

import pytest

from editors.parts.corpus import long_lines


def test_short_lines_and_headings_are_left_out() -> None:
    running = " ".join(["word"] * 21)
    heading = "= " + " ".join(["word"] * 30) + " ="
    short = " ".join(["word"] * 20)
    documents = [f"{short}\n {running} \n{heading}", "", f"b {running}\n"]
    assert long_lines(documents) == (running, f"b {running}")


def test_a_corpus_without_running_text_is_refused() -> None:
    with pytest.raises(ValueError, match="has no line of at least 21 words"):
        long_lines(["Too short."])

"""Lines of plain text that editors compare their edits with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

# A line counts from this many words on and if it is no heading (` = Title = `), which is how
# qizhou000/UniEdit picks lines of WikiText-103.
MIN_WORDS = 21
MAX_LINES = 100_000  # ours: as many as are read of a corpus elsewhere


def long_lines(path: Path) -> tuple[str, ...]:
    """The running text of a file: its first long lines, without headings.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no such line.
    """
    with path.open(encoding="utf-8") as file:
        lines = tuple(islice(_running_text(file), MAX_LINES))
    if not lines:
        raise ValueError(f"{path} has no line of at least {MIN_WORDS} words.")
    return lines


def _running_text(lines: Iterator[str]) -> Iterator[str]:
    for line in map(str.strip, lines):
        heading = line.startswith("=") and line.endswith("=")
        if not heading and len(line.split()) >= MIN_WORDS:
            yield line

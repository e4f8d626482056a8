"""Lines of plain text that editors compare their edits with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

# A line counts from this many words on and if it is no heading (` = Title = `), which is how
# qizhou000/UniEdit picks lines of WikiText-103.
MIN_WORDS = 21
MAX_LINES = 100_000  # ours: as many as are read of a corpus elsewhere


def long_lines(documents: Iterable[str]) -> tuple[str, ...]:
    """The running text of documents: their first long lines, without headings.

    Raises:
        ValueError: they hold no such line.
    """
    lines = tuple(islice(_running_text(documents), MAX_LINES))
    if not lines:
        raise ValueError(f"The corpus has no line of at least {MIN_WORDS} words.")
    return lines


def _running_text(documents: Iterable[str]) -> Iterator[str]:
    for line in (line.strip() for document in documents for line in document.splitlines()):
        heading = line.startswith("=") and line.endswith("=")
        if not heading and len(line.split()) >= MIN_WORDS:
            yield line

"""What the command line writes; texts from data and users, safe for the place they are shown in.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

PIPE_WIDTH = 200  # columns when nobody watches: tables are not cut to a terminal's 80

# Control characters but for tab and line feed (escape sequences begin with one of them), and those
# that turn the direction of the text around them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_BREAKS = re.compile(r"[\t\n]+")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def say(line: str) -> None:
    """One line of a result."""
    sys.stdout.write(f"{visible(line)}\n")


def warn(line: str) -> None:
    """One line about the run itself."""
    sys.stderr.write(f"{visible(line)}\n")


def terminal_width() -> int | None:
    """Columns of the terminal that results go to; None in a pipe."""
    from rich.console import Console

    console = Console()
    return console.width if console.is_terminal else None


def show(table: Table) -> None:
    """A table in the terminal's width, or in full width in a pipe."""
    from rich.console import Console

    width = terminal_width()
    (Console(width=PIPE_WIDTH) if width is None else Console()).print(table)


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """A line for each row of cells, in columns that are as wide as their widest cell."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (map(str.ljust, row, widths) for row in rows)
    return ["  ".join(cells).rstrip() for cells in padded]


def quiet_libraries() -> None:
    """Let libraries stay offline and silent, in processes that are this package's own.

    They read these settings when they are first imported; a user's own settings hold.
    """
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS", "TQDM_DISABLE"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def visible(text: str) -> str:
    r"""The text with hidden characters written out, as `\x1b`; tabs and line feeds stay."""
    return _HIDDEN.sub(_written_out, text)


def one_line(text: str) -> str:
    """As `visible`, in one line."""
    return visible(_BREAKS.sub(" ", text))


def csv_cell(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula; numbers stay as they are."""
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def markdown_cell(text: str) -> str:
    """A cell of a Markdown table: one line, without column rules or HTML tags of its own."""
    return _TAG.sub("&lt;", one_line(text)).replace("|", r"\|")


def markdown_line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(map(markdown_cell, texts)) + " |"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table whose columns are aligned left."""
    return "\n".join(map(markdown_line, (columns, ["---"] * len(columns), *rows)))


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

"""Text from data and from users, made safe for terminals, tables and spreadsheets."""

from __future__ import annotations

import re

# Control characters but for tab and line feed (escape sequences begin with one of them), and those
# that turn the direction of the text around them.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_BREAKS = re.compile(r"[\t\n]+")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def visible(text: str) -> str:
    r"""The text with hidden characters written out, as `\x1b`; tabs and line feeds stay."""
    return _HIDDEN.sub(_written_out, text)


def one_line(text: str) -> str:
    """As `visible`, in one line."""
    return visible(_BREAKS.sub(" ", text))


def markdown_cell(text: str) -> str:
    """A cell of a Markdown table: one line, without column rules or HTML tags of its own."""
    return _TAG.sub("&lt;", one_line(text)).replace("|", r"\|")


def csv_cell(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula; numbers stay as they are."""
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"

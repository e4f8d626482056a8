"""Reading the pages of the documentation: blocks, commands, tables, marked examples."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
EDITOR_PAGES = ROOT / "docs" / "editors"
DESCRIBED = sorted(page.stem for page in EDITOR_PAGES.glob("*.md"))

RUN = "<!-- run -->"  # before a block whose commands the tests run: those that take seconds
FENCE = re.compile(r"(?P<mark><!-- [^\n]* -->\n)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)
_COMMAND = re.compile(r"(?:^|/|\s)python3? -m bench (?P<arguments>.+)$")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def commands(page: Path, mark: str | None = None) -> Iterator[list[str]]:
    """Arguments of each call of the package in a page's fenced blocks, or in the marked ones."""
    for block in FENCE.finditer(page.read_text("utf-8")):
        if block["language"] == "python" or (mark and (block["mark"] or "").strip() != mark):
            continue
        joined = block["text"].replace("\\\n", " ")
        for part in re.split(r"\n|&&", joined):
            if command := _COMMAND.search(part.strip()):
                yield shlex.split(command["arguments"], comments=True)


def table_under(page: Path, first: str) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of the page's table whose first column is called so."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in page.read_text("utf-8").split(f"| {first} |", 1)[1].split("\n\n")[0].split("\n")
    ]
    return [first, *(cell for cell in rows[0] if cell)], rows[2:]


def example(page: str, name: str) -> str:
    """The code of a marked block."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    blocks = [b for b in FENCE.finditer(text) if b["mark"] == f"<!-- example: {name} -->\n"]
    (block,) = blocks
    return block["text"]

"""Answers, retrievals and edits as short labelled lines: calm colours on a terminal, else plain."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.core.console import one_line, say

if TYPE_CHECKING:
    from bench.cli.interactive.session import Reply, Session
    from editors.base import Editor, EditRequest
    from editors.parts.explanations import Explanation

# Where nothing is looked up, by the editor's family.
_NOT_LOOKED_UP = {
    "MP": "nothing is retrieved: the edits are in the model's weights",
    "AP": "nothing is retrieved: what the edits added acts on every question",
    "RB": "nothing is retrieved",
}
_WIDTH = 9  # of labels


@dataclass(frozen=True, kw_only=True)
class Line:
    """A label, its text, and how a terminal shows the text."""

    label: str
    text: str
    style: str = ""


def show(lines: Iterable[Line]) -> None:
    """Print lines to standard output; what could steer a terminal is written out."""
    if not sys.stdout.isatty():
        for line in lines:
            say(f"{line.label:<{_WIDTH}} {one_line(line.text)}".rstrip())
        return
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=_WIDTH, style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row(Text(line.label), Text(one_line(line.text), style=line.style))
    Console().print(grid)


def reply_lines(reply: Reply, session: Session) -> Iterator[Line]:
    """The answers before and after, and why."""
    yield Line(label="question", text=reply.question)
    yield Line(label="before", text=_answer(reply.before))
    if not session.edits:
        yield Line(label="after", text="no edits yet", style="dim")
        return
    style = "bold green" if reply.changed else "bold"
    same = "" if reply.changed else "  (unchanged)"
    yield Line(label="after", text=_answer(reply.after) + same, style=style)
    told = reply.explanation
    if told is None:
        yield Line(label="why", text=_untold(session.editor), style="dim")
        return
    yield from _why(told, changed=reply.changed)


def edit_lines(edits: Sequence[EditRequest]) -> Iterator[Line]:
    """One line an edit, numbered."""
    for number, request in enumerate(edits, start=1):
        yield Line(label=f"edit {number}", text=edit_text(request))
    if not edits:
        yield Line(label="edits", text="none", style="dim")


def edit_text(request: EditRequest) -> str:
    """An edit as it is typed."""
    at = f" @ {request.subject}" if request.subject else ""
    return f"{request.prompt} => {request.target}{at}"


def _why(told: Explanation, *, changed: bool) -> Iterator[Line]:
    yield Line(label="why", text=_verdict(told), style="cyan" if told.fired else "")
    for candidate in told.candidates:
        used = candidate.row == told.used
        mark = "  <- used" if used else ""
        yield Line(
            label="",
            text=f"{candidate.row + 1}. {candidate.score:.4g}  {candidate.text}{mark}",
            style="" if used else "dim",
        )
    if changed and not told.fired:
        yield Line(
            label="",
            text="the editor's own weights answer otherwise than the model's",
            style="dim",
        )


def _untold(editor: Editor[Any]) -> str:
    """Why there are no candidates; an editor of one's own may retrieve without a word of it."""
    if editor.retrieves_text:
        return f"{editor.label} does not tell what it retrieves"
    return _NOT_LOOKED_UP[editor.family]


def _verdict(told: Explanation) -> str:
    if not told.candidates:
        return "nothing is stored"
    best = told.candidates[0].score
    if told.limit is None:
        return f"the nearest stored edit is always used: {told.measure} {best:.4g}"
    outcome = "an edit fired" if told.fired else "no edit fired"
    note = f" ({told.note})" if told.note else ""
    return f"{outcome}: best {told.measure} {best:.4g}, {told.limit_is} {told.limit:.4g}{note}"


def _answer(text: str) -> str:
    return text or "(nothing)"

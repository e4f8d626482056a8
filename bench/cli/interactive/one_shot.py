"""Edits and questions of one command line: made, asked, told as text or as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench import __version__
from bench.cli.interactive.requests import request_of
from bench.cli.interactive.showing import edit_lines, reply_lines, show
from bench.core.console import say
from editors import registry

if TYPE_CHECKING:
    from bench.cli.interactive.session import Reply, Session
    from editors.base import EditRequest
    from editors.parts.explanations import Explanation

SCHEMA = 1


@dataclass(kw_only=True)
class TypedEdit:
    """An edit as it stands on a command line."""

    prompt: str
    target: str
    subject: str | None = None


def requests_of(edits: Iterable[TypedEdit], editor: str) -> list[EditRequest]:
    """Checked edits.

    Raises:
        ValueError: one that cannot be made; the sentence says why.
    """
    wanted = registry.editor_class(editor).uses_subject
    return [request_of(one.prompt, one.target, one.subject, wanted=wanted) for one in edits]


def tell(
    session: Session, requests: Sequence[EditRequest], questions: Sequence[str], *, as_json: bool
) -> int:
    """Make the edits, then ask; without questions, the edits' own prompts. Exit code 0."""
    asked = questions or [request.prompt for request in requests]
    for request in requests:
        session.edit(request)
    replies = [session.ask(question) for question in asked]
    if as_json:
        say(json.dumps(as_plain(session, replies), indent=1))
        return 0
    show(edit_lines(session.edits))
    for reply in replies:
        say("")
        show(reply_lines(reply, session))
    return 0


def as_plain(session: Session, replies: Iterable[Reply]) -> dict[str, Any]:
    """All of it as JSON values."""
    editor = session.editor
    return {
        "schema": SCHEMA,
        "version": __version__,
        "backbone": editor.lm.name,
        "editor": {
            "key": registry.resolve(editor.label),
            "label": editor.label,
            "family": editor.family,
            "hparams": editor.hparams.to_dict(),
        },
        "edits": [vars(request) for request in session.edits],
        "answers": [
            {
                "question": reply.question,
                "before": reply.before,
                "after": reply.after,
                "changed": reply.changed,
                "retrieved": _retrieved(reply.explanation),
            }
            for reply in replies
        ],
    }


def _retrieved(told: Explanation | None) -> dict[str, Any] | None:
    if told is None:
        return None
    return {
        "fired": told.fired,
        "used": told.used,
        "measure": told.measure,
        "limit_is": told.limit_is,
        "limit": _number(told.limit),
        "note": told.note,
        "candidates": [
            {"row": one.row, "text": one.text, "score": _number(one.score)}
            for one in told.candidates
        ],
    }


def _number(value: float | None) -> float | None:
    """JSON knows no infinity."""
    return value if value is not None and math.isfinite(value) else None

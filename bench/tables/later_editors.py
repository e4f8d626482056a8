"""What tables and figures say of editors that are not in the paper's tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.core.names import RECENT, in_paper

MARK = "\u00a7"  # a section sign


def marked(label: str, editor: str | None) -> str:
    """The label of a row with a mark where its editor (a key, or key/variant) is a recent one."""
    return label if editor is None or _known(editor) else f"{label} {MARK}"


def notes(editors: Iterable[str | None]) -> Iterator[str]:
    """One sentence of a caption where any of these editors is a recent one."""
    if not all(editor is None or _known(editor) for editor in editors):
        yield f"{MARK} {RECENT.capitalize()}."


def _known(editor: str) -> bool:
    return in_paper(editor.partition("/")[0])

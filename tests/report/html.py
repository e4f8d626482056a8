"""Reading the pages of a report: links, tables, texts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

_SCRIPT = re.compile(r"report\.\w+\((.*)\);\n", re.DOTALL)
_VOID = {"meta", "link", "img", "input", "br", "hr"}


@dataclass
class Page(HTMLParser):
    """What a page loads, links to and shows."""

    ids: set[str] = field(default_factory=set)
    loaded: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    inline: list[str] = field(default_factory=list)  # scripts and styles in the page
    rows: dict[str, list[list[str]]] = field(default_factory=dict)  # of tables, by id
    text: str = ""
    _open: list[str] = field(default_factory=list)
    _table: str = ""

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        if values.get("id"):
            self.ids.add(str(values["id"]))
        for name in {"src", "href"} & values.keys():
            (self.links if tag == "a" else self.loaded).append(str(values[name]))
        if tag == "table":
            self._table = str(values.get("id", ""))
            self.rows[self._table] = []
        if tag == "tr" and self._table:
            self.rows[self._table].append([])
        if tag in {"td", "th"} and self._table:
            self.rows[self._table][-1].append("")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "table":
            self._table = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open and self._open[-1] in {"script", "style"}:
            self.inline.append(data)
        if self._table and {"td", "th"} & {*self._open} and self.rows[self._table]:
            self.rows[self._table][-1][-1] += data


def read(path: Path) -> Page:
    """A page, whose every tag is closed."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page._open == []
    return page


def pages(report: Path) -> dict[str, Page]:
    """All pages by name."""
    return {path.name: read(path) for path in sorted(report.glob("*.html"))}


def data(path: Path) -> Any:
    """The argument of a data file's one call."""
    call = _SCRIPT.fullmatch(path.read_text(encoding="utf-8"))
    assert call is not None
    return json.loads(call[1])


def views(report: Path) -> dict[str, Any]:
    """What is shown of every cell, by key."""
    files = sorted((report / "data" / "cells").glob("*.js"))
    return {view["key"]: view for path in files for view in data(path)}

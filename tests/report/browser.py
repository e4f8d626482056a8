"""Pages in a browser, with what went wrong in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PHONE = {"width": 375, "height": 800}
NAMES = ("chromium", "chromium-browser", "google-chrome")
TOGETHER = 6  # pages that are open at once; most of the time each only waits to be quiet

Place = tuple[Path, str]  # a file, and the anchor behind it


@dataclass
class Seen:
    """A page and others like it, with what went wrong in them."""

    context: Any
    page: Any
    troubles: list[str] = field(default_factory=list)

    def open(self, place: Path, anchor: str = "") -> Any:
        """The page of a file, when everything in it has been loaded."""
        self.page.goto(place.as_uri() + anchor)
        self.page.wait_for_load_state("networkidle")
        return self.page

    def each(self, places: Sequence[Place]) -> Iterator[Any]:
        """Pages of files, one after the other, each in a tab of its own as `open` gives it."""
        yield from opened(self.context, places)


def opened(context: Any, places: Sequence[Place]) -> Iterator[Any]:
    """As `Seen.each`, in any context."""
    for start in range(0, len(places), TOGETHER):
        pages = []
        for place, anchor in places[start : start + TOGETHER]:
            pages.append(context.new_page())
            pages[-1].goto(place.as_uri() + anchor, wait_until="commit")
        for page in pages:
            page.wait_for_load_state("networkidle")
        for page in pages:
            yield page
            page.close()


def watched(context: Any) -> Iterator[Seen]:
    found = Seen(context, context.new_page())
    troubles = found.troubles
    context.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    context.on("weberror", lambda error: troubles.append(str(error.error)))
    context.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
    context.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
    context.on("request", lambda request: troubles.extend(_elsewhere(request.url)))
    yield found
    context.close()
    assert troubles == []


def _elsewhere(address: str) -> list[str]:
    return [] if address.startswith("file://") else [f"elsewhere: {address}"]

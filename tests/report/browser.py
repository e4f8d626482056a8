"""A page in a browser, with what went wrong in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PHONE = {"width": 375, "height": 800}
NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Seen:
    """A page, with what went wrong in it."""

    page: Any
    troubles: list[str] = field(default_factory=list)

    def open(self, place: Path, anchor: str = "") -> Any:
        """The page of a file, when everything in it has been loaded."""
        self.page.goto(place.as_uri() + anchor)
        self.page.wait_for_load_state("networkidle")
        return self.page


def watched(context: Any) -> Iterator[Seen]:
    found = Seen(context.new_page())
    page, troubles = found.page, found.troubles
    page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
    page.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: troubles.extend(_elsewhere(request.url)))
    yield found
    context.close()
    assert troubles == []


def _elsewhere(address: str) -> list[str]:
    return [] if address.startswith("file://") else [f"elsewhere: {address}"]

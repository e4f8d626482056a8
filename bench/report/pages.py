"""Pages of the report: values into templates that escape them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.console import visible

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent
# Nothing but the report's own files is loaded, and nothing is sent anywhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'"
)


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page by its file, with what fills its template."""

    file: str
    title: str
    template: str
    values: Mapping[str, Any]
    label: str = ""  # in the navigation; empty: not there
    about: str = ""  # on the first page


def render(page: Page, pages: tuple[Page, ...], footer: str) -> bytes:
    """A page as HTML."""
    text = (
        environment()
        .get_template(page.template)
        .render(
            **page.values,
            file=page.file,
            title=page.title,
            policy=POLICY,
            navigation=[one for one in pages if one.label],
            footer=footer,
        )
    )
    return text.encode()


def assets() -> dict[str, bytes]:
    """Style and scripts of the pages."""
    return {f"assets/{path.name}": path.read_bytes() for path in (_HERE / "assets").iterdir()}


@cache
def environment() -> Environment:
    """Templates that escape every value, with hidden characters written out first."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def _shown(value: Any) -> Any:
    """Plain texts as readers should see them; markup of templates stays."""
    return visible(value) if type(value) is str else value

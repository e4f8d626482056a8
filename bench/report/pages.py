"""Files of the report: pages from templates that escape values, data as scripts, the folder."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.console import visible
from bench.report.grid import Grid

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE = Path(__file__).parent
# Nothing but the report's own files is loaded, and nothing is sent anywhere.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'"
)
# Characters that mean something to HTML, and line ends that JavaScript has and JSON has not.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
MARK = "report.json"  # its presence says that a folder is a report, which a new one may replace


@dataclass(frozen=True)
class Page:
    """A page by its file, with what fills its template."""

    file: str
    title: str
    template: str
    values: Mapping[str, Any]
    label: str = ""  # in the navigation; empty: not there
    about: str = ""  # on the first page


def tables_page(
    file: str, title: str, grids: Sequence[Grid], about: str, *, label: str = "",
    lines: Sequence[str] = (), terms: Sequence[tuple[str, str]] = (),
) -> Page:  # fmt: skip
    """A page of tables, under lines of text and explained terms."""
    values = {"lines": lines, "terms": terms, "grids": grids}
    return Page(file, title, "tables.html", values, label or title, about)


def render(page: Page, pages: tuple[Page, ...], footer: str) -> bytes:
    """A page as HTML."""
    navigation = [other for other in pages if other.label]
    shared = {"page": page, "policy": POLICY, "navigation": navigation, "footer": footer}
    return environment().get_template(page.template).render(**page.values, **shared).encode()


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
        # Plain texts as readers should see them; markup of templates stays.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )


def script(name: str, value: Any) -> bytes:
    """`report.NAME(value);`: a page that is opened as a file cannot fetch JSON.

    Whatever a text holds, it stays a text: nothing in it ends a script or a string.
    """
    return f"report.{name}({safe_json(value)});\n".encode()


def safe_json(value: Any) -> str:
    """JSON that can stand anywhere in a script or a page; hidden characters are written out."""
    text = json.dumps(_shown(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _shown(value: Any) -> Any:
    """The same with every text escaped."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(str(name)): _shown(part) for name, part in value.items()}
    return [_shown(part) for part in value] if isinstance(value, list | tuple) else value


def write_folder(out: Path, contents: Mapping[str, bytes]) -> Path:
    """Write files by their relative names, all under another folder name first; returns `out`.

    Raises:
        ValueError: there is something else than a report at `out`.
        OSError: the place cannot be written; what was there before is there still.
    """
    place = out.resolve()
    check_place(out)
    place.parent.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    partial = place.with_name(f".{place.name}.{name}.partial")
    earlier = place.with_name(f".{place.name}.{name}.earlier")
    try:
        for relative, content in contents.items():
            path = partial / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if place.exists():
            place.rename(earlier)
        partial.rename(place)
    except OSError:
        if earlier.exists():
            earlier.rename(place)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(earlier, ignore_errors=True)
    return out


def check_place(out: Path) -> None:
    """Refuse a place that holds something else than a report.

    Raises:
        ValueError: a file, or a folder that is neither empty nor a report.
    """
    if out.is_dir():
        if not (out / MARK).is_file() and any(out.iterdir()):
            raise ValueError(
                f"{out} is no report that could be replaced: it holds files, and no {MARK}; "
                "name an empty or a new folder with --out."
            )
    elif out.exists() or out.is_symlink():
        raise ValueError(f"{out} is a file; name a folder with --out.")

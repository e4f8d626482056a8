"""Pages of the report: their tables as plain values, the templates, and the files of the folder."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.console import visible
from bench.tables.table import Number

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
KEY_LENGTH = 12  # of a cell's key in links: a prefix that is unique among any sensible records
MARK = "report.json"  # its presence says that a folder is a report, which a new one may replace


@dataclass(frozen=True)
class Column:
    """A column; numbers are aligned right and sort by value."""

    name: str
    number: bool = False
    words: bool = False  # sentences, which may be long
    group: str = ""  # heading above it and its neighbours
    about: str = ""  # what it means, in a few words


@dataclass(frozen=True, kw_only=True)
class Value:
    """What one place of a table shows."""

    text: str
    sort: float | str | None = None  # None: the text itself, or nothing for a dash
    spread: str = ""  # `±2.87`, or quartiles
    marks: str = ""
    published: str = ""  # as the paper prints it
    source: str = ""  # of the published value: its backbone
    difference: str = ""  # from the published value, in the table's unit
    href: str = ""
    best: bool = False
    verdict: str = ""  # a word that gets a mark of its own


@dataclass(frozen=True)
class GridRow:
    """A line; `starts` a new group."""

    values: tuple[Value, ...]
    starts: bool = False


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table with its caption. `filters` are names of columns to choose by, in their order."""

    key: str  # of its place in a page
    title: str
    caption: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[GridRow, ...]
    filters: tuple[str, ...] = ()
    csv: str = ""  # its file, relative to the page
    short: str = ""  # a caption where the title stands above the table already
    defaults: Mapping[str, str] = field(default_factory=dict)  # what filters are set to at first

    def choice(self, row: GridRow, name: str) -> str:
        """A row's value for a filter."""
        value = row.values[[column.name for column in self.columns].index(name)]
        return value.verdict or value.text

    @cached_property
    def choices(self) -> dict[str, dict[str, int]]:
        """The values of each filter, numbered in the order of the rows."""
        texts = {name: [self.choice(row, name) for row in self.rows] for name in self.filters}
        return {
            name: {text: i for i, text in enumerate(dict.fromkeys(own))}
            for name, own in texts.items()
        }

    def places(self, row: GridRow) -> str:
        """Which choice of each filter a row has, by number."""
        return ",".join(str(own[self.choice(row, name)]) for name, own in self.choices.items())

    def hidden(self, row: GridRow) -> bool:
        """Whether the filters leave a row out at first."""
        return any(value not in ("", self.choice(row, n)) for n, value in self.defaults.items())

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """(heading, columns under it), empty where no column has a heading."""
        groups = groupby(column.group for column in self.columns)
        widths = tuple((name, len(list(own))) for name, own in groups)
        return widths if any(name for name, _ in widths) else ()


def plain(text: str, sort: float | str | None = None, *, href: str = "") -> Value:
    """A value without a published one beside it."""
    return Value(text=text, sort=sort, href=href)


def measured(number: Number, *, source: str = "", link: str = "") -> Value:
    """Our number, linked to its cells, with the published one and the difference."""
    text, spread = number.parts
    ours, theirs, decimals = number.ours, number.published, number.decimals
    value = Value(text=text, published=number.published_text, source=source, href=link)
    if ours is None:
        return replace(value, href="") if number.value is None else value
    gap = theirs and round(ours.mean, decimals) - round(theirs.value, decimals)
    return replace(
        value, sort=round(ours.mean, 6), spread=spread, marks=number.marks, best=number.best,
        difference="" if gap is None else f"{gap:+.{decimals}f}".replace("-", "\u2212"),
    )  # fmt: skip


def cell_link(keys: Sequence[str]) -> str:
    """Where the cells of a number are shown; empty for none."""
    return "cell.html#" + ",".join(key[:KEY_LENGTH] for key in keys) if keys else ""


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

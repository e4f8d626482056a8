"""The report in a browser without a head: it works by mouse and by keyboard, and runs no text.

Every page is for a phone, for print, and for all who read it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.report.hostile import SCRIPT, TEXTS
from tests.report.html import pages, views

pytestmark = pytest.mark.browser
PHONE = {"width": 375, "height": 800}
NAMES = ("chromium", "chromium-browser", "google-chrome")
TOGETHER = 6  # pages that are open at once; most of the time each only waits to be quiet

Place = tuple[Path, str]  # a file, and the anchor after it


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


def opened(context: Any, places: Sequence[Place]) -> Iterator[Any]:
    """Pages of files, one after the other, each in a tab of its own as `Seen.open` gives it."""
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
    seen = Seen(context, context.new_page())
    troubles = seen.troubles
    context.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    context.on("weberror", lambda error: troubles.append(str(error.error)))
    context.on("requestfailed", lambda request: troubles.append(f"failed: {request.url}"))
    context.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
    context.on("request", lambda request: troubles.extend(_elsewhere(request.url)))
    yield seen
    context.close()
    assert troubles == []


def _elsewhere(address: str) -> list[str]:
    return [] if address.startswith("file://") else [f"elsewhere: {address}"]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser of this machine; without the library that drives it, its tests are left out."""
    playwright = pytest.importorskip("playwright.sync_api", reason="it is in the group `browser`")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail(f"no browser on the path: {', '.join(NAMES)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def seen(chromium: Any) -> Iterator[Seen]:
    """A fresh page; a test fails where it complains, asks elsewhere, or opens a dialog."""
    yield from watched(chromium.new_context())


@pytest.fixture
def phone(chromium: Any) -> Iterator[Seen]:
    """The same on a phone's screen."""
    yield from watched(chromium.new_context(viewport=PHONE, has_touch=True))


def column(page: Any, table: str, number: int) -> list[str]:
    """The texts that are shown of a column, counted from 1."""
    cells = page.locator(f"#{table} tbody tr:visible > :nth-child({number})")
    return [str(text) for text in cells.all_inner_texts()]


def sorted_by(page: Any, table: str, number: int) -> list[float]:
    """The values of a column, as the rows stand."""
    cells = page.locator(f"#{table} tbody tr:visible > :nth-child({number})")
    return [float(v) for v in cells.evaluate_all("cells => cells.map(cell => cell.dataset.s)")]


def test_every_page_opens_without_a_complaint(each_report: Path, seen: Seen) -> None:
    bare = each_report / "cell.html", ""
    for page in opened(seen.context, [*places(each_report), bare]):
        assert page.locator("h1").count() == 1


def test_tables_sort_by_mouse_and_by_keyboard(small_report: Path, seen: Seen) -> None:
    page = seen.open(small_report / "table1.html")
    before = column(page, "table1-table", 1)
    head = page.locator("#table1-table thead th", has_text="Avg")
    assert head.get_attribute("aria-sort") == "none"
    place = 1 + head.evaluate("head => head.cellIndex")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = sorted_by(page, "table1-table", place)
    assert values == sorted(values, reverse=True) != sorted(values)
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert sorted_by(page, "table1-table", place) == sorted(values)
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "none"
    assert column(page, "table1-table", 1) == before


def test_numbers_sort_as_numbers_and_dashes_come_last(small_report: Path, seen: Seen) -> None:
    page = seen.open(small_report / "table1.html")
    page.get_by_role("button", name="P-only").click()
    texts = [text.partition("±")[0] for text in column(page, "table1-table", 8)]
    numbers = [float(text) for text in texts if text != "-"]
    assert texts[-1] == "-"
    assert texts[: len(numbers)] == [f"{n:.2f}" for n in sorted(numbers, reverse=True)]


def test_tables_filter_by_mouse_and_by_keyboard(small_report: Path, seen: Seen) -> None:
    page = seen.open(small_report / "table1.html")
    every = column(page, "table1-table", 1)
    page.get_by_label("Editor", exact=True).select_option("RECIPE")
    assert set(column(page, "table1-table", 1)) == {"RECIPE"}
    page.get_by_label("Data set", exact=True).focus()
    page.keyboard.press("ArrowDown")
    assert set(column(page, "table1-table", 3)) == {"ZSRE"}
    count = page.locator("p.count").inner_text()
    assert count == f"{len(column(page, 'table1-table', 1))} of {len(every)} rows"
    page.get_by_role("button", name="Show all").click()
    assert column(page, "table1-table", 1) == every


def test_the_metric_loss_opens_on_averages_of_the_first_backbone(
    small_report: Path, seen: Seen
) -> None:
    page = seen.open(small_report / "metric-loss.html")
    assert set(column(page, "metric-loss-table", 4)) == {"Avg"}
    assert page.get_by_label("Backbone").input_value() != ""
    assert set(column(page, "metric-loss-table", 13)) == {"mini-llama"}
    whole = page.locator("#metric-loss-table tbody tr").count()
    assert 0 < len(column(page, "metric-loss-table", 1)) < whole
    page.get_by_role("button", name="Show all").click()
    assert len(column(page, "metric-loss-table", 1)) == whole


@pytest.mark.parametrize("name", ["Edits", "Backbone", "Settings", "Protocol"])
def test_every_filter_leaves_what_it_says(name: str, small_report: Path, seen: Seen) -> None:
    page = seen.open(small_report / "table1.html")
    choice = page.get_by_label(name, exact=True)
    value = choice.locator("option").nth(1).inner_text()
    choice.select_option(value)
    heads = page.locator("#table1-table thead th").all_inner_texts()
    place = 1 + [text.strip() for text in heads].index(name)
    assert set(column(page, "table1-table", place)) == {value}


def test_the_published_value_shows_at_focus_pointer_and_escape(
    small_report: Path, seen: Seen
) -> None:
    page = seen.open(small_report / "table1.html")
    tip, number = page.locator("#tip"), page.locator("#table1-table tbody td.n a").first
    assert tip.is_hidden()
    number.focus()
    said = tip.inner_text()
    assert said.startswith("published ")
    assert " on LLAMA-2-7B; ours " in said
    assert number.get_attribute("aria-describedby") == "tip"
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    number.hover()
    assert tip.inner_text() == said
    page.locator("h1").hover()
    assert tip.is_hidden()


def test_the_published_value_stays_where_the_focus_scrolls_to(
    small_report: Path, phone: Seen
) -> None:
    page = phone.open(small_report / "table1.html")
    page.locator("#table1-table tbody tr").last.locator("td.n a").nth(3).focus()
    page.wait_for_timeout(300)
    tip = page.locator("#tip").bounding_box()
    assert page.locator("#tip").is_visible()
    assert 0 <= tip["x"] <= tip["x"] + tip["width"] <= PHONE["width"]
    assert 0 <= tip["y"] <= tip["y"] + tip["height"] <= PHONE["height"]


def test_a_tap_shows_the_published_value_and_a_second_one_the_cell(
    small_report: Path, phone: Seen
) -> None:
    page = phone.open(small_report / "index.html")
    number = page.locator("#headline-table td a").first
    number.tap()
    said = page.locator("#tip").inner_text()
    assert said.startswith("published ")
    assert said.endswith("; tap again for its cells")
    assert page.url.endswith("index.html")
    number.tap()
    page.wait_for_selector("#cell h2")
    assert "/cell.html#" in page.url


def test_a_number_leads_to_its_cells_and_their_worst_samples(
    small_report: Path, seen: Seen
) -> None:
    page = seen.open(small_report / "table1.html")
    row = page.locator("#table1-table tbody tr", has_text="RECIPE").first
    row.locator("td.n a").first.click()
    page.wait_for_selector("#cell h2")
    keys = page.url.partition("#")[2].split(",")
    assert len(keys) == 2  # seeds
    for i, key in enumerate(keys):
        view = next(v for k, v in views(small_report).items() if k.startswith(key))
        page.locator("#cell-choice a").nth(i).click()
        page.wait_for_function("title => document.title.startsWith(title)", arg=view["title"])
        assert page.locator("h1").inner_text() == view["title"]
        assert "RECIPE" in view["title"]
        worst = next(s["samples"] for s in view["sections"] if s["title"] == "Worst samples")
        shown = page.locator(".samples td:nth-child(2)").all_text_contents()
        assert shown == [item[1] for sample in worst for item in sample["items"]]


def test_a_cell_that_is_not_there_is_said(small_report: Path, seen: Seen) -> None:
    shard = next((small_report / "data" / "cells").glob("*.js")).stem
    page = seen.open(small_report / "cell.html", f"#{shard}{'0' * 10}")
    page.wait_for_function("document.getElementById('cell-status').textContent.startsWith('No ')")
    page = seen.open(small_report / "cell.html", "#<img src=x onerror=alert(1)>")
    assert "Choose a number" in page.locator("#cell-status").inner_text()


def test_attacks_are_shown_as_the_texts_they_are(hostile_report: Path, seen: Seen) -> None:
    key = next(iter(views(hostile_report)))
    page = seen.open(hostile_report / "cell.html", f"#{key}")
    page.wait_for_selector(".samples table")
    shown = page.locator("#cell").text_content()
    for text in (SCRIPT, TEXTS[1], TEXTS[2], TEXTS[4], "right\\u202eto left"):
        assert text in shown
    assert page.locator("#cell script, #cell img").count() == 0
    assert page.evaluate("window.getSelection && document.querySelectorAll('script').length") == 3


def test_figures_come_alive_and_editors_can_be_switched_off(small_report: Path, seen: Seen) -> None:
    page = seen.open(small_report / "edits-mini-llama.html")
    page.wait_for_selector(".js-plotly-plot .scatterlayer .trace")
    lines = page.locator(".plot").first.locator(".scatterlayer .trace")
    assert lines.count() == 2
    page.get_by_label("RECIPE").focus()
    page.keyboard.press("Space")
    page.wait_for_function(
        "document.querySelector('.plot').querySelectorAll('.scatterlayer .trace').length === 1"
    )
    assert page.locator("img.drawing").evaluate("image => image.naturalWidth") > 100


RULES = {
    "light": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    },
    "dark": {"type": "rule", "values": ["color-contrast"]},  # nothing else is another
}


def places(folder: Path) -> list[Place]:
    """Every page, that of a cell with one."""
    key = next(iter(views(folder)))
    return [(folder / name, f"#{key}" if name == "cell.html" else "") for name in pages(folder)]


def test_no_page_is_wider_than_a_phone(each_report: Path, phone: Seen) -> None:
    for page in opened(phone.context, places(each_report)):
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], page.url


def test_the_first_column_stays_in_sight(small_report: Path, phone: Seen) -> None:
    page = phone.open(small_report / "table1.html")
    page.locator(".scroll").first.evaluate("box => { box.scrollLeft = 300; }")
    first = page.locator("#table1-table tbody th").first.bounding_box()
    assert 0 <= first["x"] < 40


def test_everything_can_be_reached_by_keyboard(small_report: Path, seen: Seen) -> None:
    page = seen.open(small_report / "table3.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName"))
        visible = page.evaluate("getComputedStyle(document.activeElement).outlineStyle !== 'none'")
        assert visible
    assert {"SELECT", "BUTTON", "DIV", "A"} <= reached


@pytest.mark.parametrize("scheme", RULES)
def test_no_page_breaks_a_rule_of_accessibility(
    scheme: str, small_report: Path, chromium: Any
) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="it is in the group `browser`")
    source = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    context = chromium.new_context(color_scheme=scheme, bypass_csp=True)
    broken = []
    for page in opened(context, places(small_report)):
        page.evaluate(source)
        result = page.evaluate("rules => axe.run({runOnly: rules})", RULES[scheme])
        broken += [
            f"{page.url}: {rule['id']}: {node['html'][:160]}"
            for rule in result["violations"]
            for node in rule["nodes"][:2]
        ]
    context.close()
    assert broken == []


def test_print_has_whole_tables_and_no_controls(small_report: Path, seen: Seen) -> None:
    page = seen.open(small_report / "table1.html")
    page.emulate_media(media="print")
    assert page.locator("form.filters select").first.is_hidden()
    assert page.locator(".scroll").first.evaluate("box => getComputedStyle(box).overflow") == (
        "visible"
    )
    assert page.locator("td .pub b").first.is_visible()

"""Every page of the report: on a phone, by keyboard, in print, and for all who read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.report.browser import PHONE, Place, Seen, opened
from tests.report.html import pages, views

pytestmark = pytest.mark.browser

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


@pytest.mark.parametrize("report", ["small_report", "hostile_report"])
def test_no_page_is_wider_than_a_phone(
    report: str, phone: Seen, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(report)
    for page in phone.each(places(folder)):
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
        found = page.evaluate("rules => axe.run({runOnly: rules})", RULES[scheme])
        broken += [
            f"{page.url}: {one['id']}: {node['html'][:160]}"
            for one in found["violations"]
            for node in one["nodes"][:2]
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

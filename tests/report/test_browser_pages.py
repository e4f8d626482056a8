"""Every page of the report: on a phone, by keyboard, in print, and for all who read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.report.browser import PHONE, Seen
from tests.report.html import pages, views

pytestmark = pytest.mark.browser

RULES = "wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"


@pytest.mark.parametrize("report", ["small_report", "hostile_report"])
def test_no_page_is_wider_than_a_phone(
    report: str, phone: Seen, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(report)
    key = next(iter(views(folder)))
    for name in pages(folder):
        page = phone.open(folder / name, f"#{key}" if name == "cell.html" else "")
        page.wait_for_timeout(50)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], name


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_breaks_a_rule_of_accessibility(
    scheme: str, small_report: Path, chromium: Any
) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="it is in the group `browser`")
    source = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    context = chromium.new_context(color_scheme=scheme, bypass_csp=True)
    key, broken = next(iter(views(small_report))), []
    for name in pages(small_report):
        page = context.new_page()
        anchor = f"#{key}" if name == "cell.html" else ""
        page.goto((small_report / name).as_uri() + anchor)
        page.wait_for_timeout(300)
        page.evaluate(source)
        found = page.evaluate(
            "rules => axe.run({runOnly: {type: 'tag', values: rules}})", list(RULES)
        )
        broken += [
            f"{name}: {one['id']}: {node['html'][:160]}"
            for one in found["violations"]
            for node in one["nodes"][:2]
        ]
        page.close()
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

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.console import visible
from bench.report.pages import KEY_LENGTH, safe_json, script
from bench.report.sources import read as read_records
from tests.cli.commands import Refused
from tests.report.hostile import BACKBONE, SCRIPT, TEXTS
from tests.report.html import Page, data, pages, views

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'"
)
_REMOTE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)", re.IGNORECASE)


@pytest.fixture(scope="module")
def small(small_report: Path) -> dict[str, Page]:
    return pages(small_report)


@pytest.fixture(scope="module")
def hostile(hostile_report: Path) -> dict[str, Page]:
    return pages(hostile_report)


def test_every_page_is_there(small: dict[str, Page]) -> None:
    tables = {f"table{number}.html" for number in (1, 2, 3, 4, 6)}
    wanted = {"index.html", "cell.html", "metric-loss.html", "figures.html", "claims.html",
              "audit.html", "beyond.html", "edits-mini-llama.html"} | tables  # fmt: skip
    assert not wanted - small.keys()
    assert "Table 5 (lifelong editing, in the paper of GPT-J-6B): no record." in (
        small["index.html"].text
    )


def test_the_folder_holds_all_that_it_loads_and_links_to(each_report: Path) -> None:
    folder, keys = each_report, {key[:KEY_LENGTH] for key in views(each_report)}
    linked = 0
    for page in pages(folder).values():
        for target in (*page.loaded, *page.links):
            assert not _REMOTE.match(target), target
            place, _, anchor = target.partition("#")
            assert not place or (folder / place).is_file(), target
            if place == "cell.html":
                assert set(anchor.split(",")) <= keys
                linked += 1
            elif anchor:
                assert anchor in page.ids, target
    assert linked > 20
    styles = (folder / "assets" / "report.css").read_text()
    assert "url(" not in styles
    assert "@import" not in styles


def test_pages_hold_no_script_and_allow_their_own_files_alone(small: dict[str, Page]) -> None:
    for page in small.values():
        policy = [v["content"] for tag, v in page.tags if "http-equiv" in v and tag == "meta"]
        assert policy == [POLICY]
        assert page.inline == []
        assert not [v for _, v in page.tags if "style" in v or any(k[:2] == "on" for k in v)]


def test_pages_can_be_read_without_eyes_or_mouse(small: dict[str, Page]) -> None:
    for name, page in small.items():
        tags = [tag for tag, _ in page.tags]
        assert tags.count("h1") == tags.count("main") == 1, name
        assert ("html", {"lang": "en"}) in page.tags
        assert page.links[0] == "#main"
        assert tags.count("caption") == tags.count("table")
        assert all("alt" in values for tag, values in page.tags if tag == "img")
        labelled = {values.get("for") for tag, values in page.tags if tag == "label"}
        assert {values["id"] for tag, values in page.tags if tag == "select"} <= labelled
        assert {v.get("scope") for tag, v in page.tags if tag == "th"} <= {
            "col", "row", "colgroup"
        }  # fmt: skip


def test_every_record_has_its_cell(small_report: Path, small_records: Path) -> None:
    records, shown = read_records(small_records).all, views(small_report)
    assert shown.keys() == records.keys()
    for key, view in shown.items():
        sections = {section["title"]: section for section in view["sections"]}
        assert {"What was measured", "Health", "Time", "Provenance", "Identity"} <= sections.keys()
        worst = records[key].get("worst", [])
        samples = sections["Worst samples"]["samples"] if worst else []
        assert [(sample["id"], [item[1] for item in sample["items"]]) for sample in samples] == [
            (sample["id"], [visible(item["prompt"]) for item in sample["items"]])
            for sample in worst
        ]


def test_a_cell_says_how_it_was_measured(small_report: Path) -> None:
    view = next(v for v in views(small_report).values() if v["title"].startswith("FT on ZSRE"))
    assert view["protocol"] == "zsre/blocks/v2"
    sections = {section["title"]: section for section in view["sections"]}
    rows = [row[:2] for row in sections["Scores"]["table"]["rows"]]
    assert ["edited, forced; retrieval sees the prompt", "exact"] in rows
    assert ["edited, decoded to its natural end", "exact"] in rows
    assert ["lr", "0.0002", "0.0002", "as the preset"] in sections["Hyper-parameters"]["table"][
        "rows"
    ]
    assert "torch" in str(sections["Provenance"]["facts"])


def test_attacks_are_written_as_texts(
    hostile: dict[str, Page], small: dict[str, Page], hostile_report: Path
) -> None:
    shown = views(hostile_report)
    for view in shown.values():
        written = str(view)
        assert SCRIPT in written  # as the parsed JSON has it, in full
        assert "right\\\\u202eto left" in written
        changed = {section["title"]: section for section in view["sections"]}["Hyper-parameters"]
        row = [SCRIPT, TEXTS[1], "-", "changed"]
        assert (row in changed["table"]["rows"]) == view["title"].startswith("FT on")
        assert "Summary: collapse" in {section["title"] for section in view["sections"]}
    for path in hostile_report.rglob("*"):
        if path.suffix in {".js", ".html"} and path.name != "plotly.min.js":
            text = path.read_text(encoding="utf-8")
            assert SCRIPT not in text, path
            assert "<img src=x" not in text, path
            assert not set("\u202e\u2066\u2028\x1b") & set(text), path
    assert BACKBONE in hostile["table1.html"].text
    (figure,) = [name for name in hostile if name.startswith("edits-")]
    assert BACKBONE in hostile[figure].text
    assert re.fullmatch(r"[A-Za-z0-9.-]+", figure)
    for path in hostile_report.glob("figures/*.svg"):
        elements = {element.tag for element in ET.parse(path).iter()}  # noqa: S314 (ours)
        assert not [tag for tag in elements if "script" in tag or "foreign" in tag]
    for name in ("table1.html", "index.html", "metric-loss.html"):
        assert {tag for tag, _ in hostile[name].tags} == {tag for tag, _ in small[name].tags}


def test_figures_have_their_numbers_and_an_interactive_form(
    small_report: Path, small: dict[str, Page]
) -> None:
    spec = data(small_report / "data" / "figures" / "edits-mini-llama.js")
    assert [group["name"] for group in spec["groups"]] == ["FT", "RECIPE"]
    csv = (small_report / "figures" / "edits-mini-llama.csv").read_text().splitlines()
    points = sum(len(series["x"]) for panel in spec["panels"] for series in panel["series"])
    assert points == len(csv) - 1
    page = small["edits-mini-llama.html"]
    assert len(page.rows["edits-mini-llama-numbers-table"]) == len(csv)
    assert "figures/edits-mini-llama.svg" in page.loaded


def test_the_command_replaces_no_other_folder(
    small_records: Path, tmp_path: Path, refused: Refused
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    error = refused("report", "--from", small_records, "--out", tmp_path)
    assert error.startswith(f"error: {tmp_path} is no report that could be replaced")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_records_that_are_not_there(tmp_path: Path, refused: Refused) -> None:
    out = tmp_path / "report"
    assert "No records at" in refused("report", "--from", tmp_path / "none", "--out", out)
    assert not out.exists()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(), VALUES)
def test_any_value_can_stand_in_a_script_and_texts_stay_texts(text: str, value: object) -> None:
    written = safe_json([text])
    assert json.loads(written) == [visible(text)]
    assert not set(written) & set("\u202e\x00")
    assert not set(written + safe_json(value)) & set("<>&\u2028\u2029")


@pytest.mark.parametrize("text", TEXTS)
def test_attacks_end_no_script(text: str) -> None:
    written = script("cells", {"title": text}).decode()
    assert written.startswith('report.cells({"title":"')
    assert written.endswith('"});\n')
    assert written.count("\n") == 1
    assert "<" not in written


def test_no_number_that_json_has_not() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        safe_json({"loss": float("nan")})

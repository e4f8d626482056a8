"""The whole audit: its pinned findings, its three forms, its command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.checks.audit import audit
from bench.checks.audit.findings import (
    MEANINGS,
    Finding,
    Section,
    lines,
    markdown,
    summary,
    to_json,
)
from bench.core.published import PublishedCell
from tests.checks.audit.altered import altered, published
from tests.cli.commands import Cli

PINNED = Path(__file__).with_name("pinned.json")
RENEW = "if it is meant: python -m bench audit --json tests/checks/audit/pinned.json"


@pytest.fixture(scope="module")
def sections() -> tuple[Section, ...]:
    return audit(published())


def by_id(text: str) -> dict[str, dict[str, Any]]:
    return {finding["id"]: finding for finding in json.loads(text)["findings"]}


def pinned() -> dict[str, dict[str, Any]]:
    return by_id(PINNED.read_text(encoding="utf-8"))


def test_the_findings_are_the_pinned_ones(sections: tuple[Section, ...]) -> None:
    now, known = by_id(to_json(sections)), pinned()
    assert list(now) == list(known), RENEW
    for name, finding in now.items():
        numbers = finding.pop("numbers")
        assert numbers == pytest.approx(known[name].pop("numbers"), rel=1e-4), f"{name}; {RENEW}"
        assert finding == known[name], RENEW


def test_a_changed_cell_is_not_the_pinned_audit() -> None:
    changed = altered(PublishedCell(1, 100, "RECIPE", "CF", "Avg"), value=94.0)  # below LTE
    now, known = by_id(to_json(audit(changed))), pinned()
    moved = {name for name in now.keys() | known.keys() if now.get(name) != known.get(name)}
    assert {
        "averages/table1",
        "averages/table1/100/RECIPE/CF",
        "claims/recipe-best-average/table1",
        "significance/table1/CF/100",
    } <= moved
    assert not any("table6" in name for name in moved)


def test_ids_are_unique_and_findings_are_complete(sections: tuple[Section, ...]) -> None:
    names = [name for section in sections for name, _ in section.named()]
    assert len(set(names)) == len(names)
    assert all(" " not in name for name in names)
    assert len({section.key for section in sections}) == len(sections)
    for section in sections:
        assert section.findings, section.key
        for finding in section.findings:
            assert finding.sentence.endswith("."), finding
            assert "\n" not in finding.sentence
            assert finding.verdict in MEANINGS
            assert finding.numbers or finding.verdict == "not tested"


def two_findings() -> tuple[Section, ...]:
    findings = (
        Finding("a", "fails", "One | two.", {"x": 1 / 3, "n": 4}),
        Finding("b", "holds", "Three."),
    )
    return (Section(key="trial", title="Trial", rule="A rule.", findings=findings),)


def test_the_terminal_has_a_line_for_each_finding_and_a_sum() -> None:
    assert list(lines(two_findings())) == [
        "Trial",
        "  fails       One | two.",
        "  holds       Three.",
        "",
        "2 findings: 1 holds, 1 fails.",
    ]


def test_markdown_has_rules_meanings_and_ids() -> None:
    text = markdown(two_findings())
    assert r"| fails | One \| two. | `trial/a` |" in text
    assert "| Trial | 1 | 1 |" in text
    assert "A rule." in text
    assert all(meaning in text for meaning in MEANINGS.values())


def test_json_has_rounded_numbers_and_a_line_for_each_finding() -> None:
    text = to_json(two_findings())
    assert json.loads(text)["counts"]["fails"] == 1
    assert by_id(text)["trial/a"]["numbers"] == {"x": 0.333333, "n": 4}
    assert sum(line.startswith('{"id"') for line in text.splitlines()) == 2


def test_the_command_writes(tmp_path: Path, cli: Cli, sections: tuple[Section, ...]) -> None:
    report, data = tmp_path / "new" / "audit.md", tmp_path / "audit.json"
    printed = cli("audit", "--markdown", report, "--json", data)
    assert (printed.code, printed.err) == (0, "")
    assert summary(sections) in printed.out
    assert report.read_text(encoding="utf-8") == markdown(sections)
    assert data.read_text(encoding="utf-8") == to_json(sections)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["audit.json", "new"]


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path, cli: Cli) -> None:
    said = cli("audit", "--json", tmp_path)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert said.err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []

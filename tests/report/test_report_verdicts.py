"""Claims and audit say in the report what their commands say."""

from __future__ import annotations

from pathlib import Path

from bench.checks.audit import audit
from bench.checks.audit.findings import summary
from bench.checks.regression.evidence import pinned
from bench.core.published import all_numbers
from bench.report import judged
from bench.report.sources import read
from bench.store.reference import reference_folder
from tests.report.html import pages


def test_claims_on_the_committed_results_are_the_known_ones() -> None:
    found = judged.judged(read(reference_folder()))
    assert {one.key: one.pair for one in found} == pinned()
    grid = judged.claims_grid(found)
    verdicts = [(row.values[2].text, row.values[3].text) for row in grid.rows]
    assert verdicts == [one.pair for one in found]


def test_a_verdict_that_is_not_the_known_one_is_marked(small_report: Path) -> None:
    rows = pages(small_report)["claims.html"].rows["claims-table"]
    known = pinned() or {}
    assert len(rows) - 1 == len(known)
    ours = [row[3] for row in rows[1:]]
    expected = [
        text if text == pair[1] else f"{text} (changed)"
        for text, pair in zip(
            (text.removesuffix(" (changed)") for text in ours), known.values(), strict=True
        )
    ]
    assert ours == expected
    assert any(text.endswith("(changed)") for text in ours)  # few records: less can be tested


def test_the_audit_has_every_finding(small_report: Path) -> None:
    sections = audit(all_numbers())
    page = pages(small_report)["audit.html"]
    assert summary(sections) in page.text
    shown = [
        row for name, rows in page.rows.items() if name.startswith("check-") for row in rows[1:]
    ]
    findings = [one for section in sections for one in section.findings]
    assert [row[0] for row in shown] == [one.verdict for one in findings]
    assert all(one.sentence in row[1] for row, one in zip(shown, findings, strict=True))

"""The findings in the terminal, as Markdown, and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from bench.checks.audit.findings import MEANINGS, VERDICTS, Finding, Section
from bench.core.console import markdown_table

SCHEMA = 1
_ABOUT = (
    "Tables 1 to 6 as the RECIPE paper prints them, checked against themselves and against what "
    "the paper says of them. `python -m bench audit` makes this report."
)
_WIDTH = max(map(len, VERDICTS))


def lines(sections: Sequence[Section]) -> Iterator[str]:
    """A line for each finding under its check, then how many there are of each verdict."""
    for section in sections:
        yield section.check.title
        yield from (f"  {one.verdict:<{_WIDTH}}  {one.sentence}" for one in section.findings)
        yield ""
    yield summary(sections)


def summary(sections: Sequence[Section]) -> str:
    """`181 findings: 107 holds, 12 fails, ...`."""
    counts = _counts(finding for section in sections for finding in section.findings)
    listed = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"{sum(counts.values())} findings: {listed}."


def markdown(sections: Sequence[Section]) -> str:
    """A report: counts by check, what verdicts mean, then each check's rule and findings."""
    parts = [
        "# Audit of the published tables",
        _ABOUT,
        markdown_table(("check", *VERDICTS), map(_count_row, sections)),
        "\n".join(f"* **{verdict}**: {meaning}" for verdict, meaning in MEANINGS.items()),
    ]
    for section in sections:
        rows = ((one.verdict, one.sentence, f"`{name}`") for name, one in section.named())
        parts += [
            f"## {section.check.title}",
            section.check.rule,
            markdown_table(("verdict", "finding", "id"), rows),
        ]
    return "\n\n".join(parts) + "\n"


def to_json(sections: Sequence[Section]) -> str:
    """`{"schema", "counts", "findings"}`, one finding a line: two audits compare line by line.

    Numbers have six significant digits, so that they do not change with the version of a library.
    """
    counts = _counts(finding for section in sections for finding in section.findings)
    entries = (
        json.dumps(
            {
                "id": name,
                "verdict": one.verdict,
                "finding": one.sentence,
                "numbers": {key: _rounded(value) for key, value in one.numbers.items()},
            },
            ensure_ascii=False,
        )
        for section in sections
        for name, one in section.named()
    )
    findings = ",\n".join(entries)
    head = f'"schema": {SCHEMA},\n"counts": {json.dumps(counts)}'
    return f'{{\n{head},\n"findings": [\n{findings}\n]\n}}\n'


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{round(value, 9):.6g}")


def _counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many findings have each verdict, in the order of the verdicts."""
    found = Counter(finding.verdict for finding in findings)
    return {verdict: found[verdict] for verdict in VERDICTS}


def _count_row(section: Section) -> tuple[str, ...]:
    counts = _counts(section.findings).values()
    return (section.check.title, *(str(count or "") for count in counts))

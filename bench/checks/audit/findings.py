"""What an audit finds, and the findings as lines, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from bench.core.console import markdown_table
from bench.core.published import Published, PublishedCell

SCHEMA = 1  # of the JSON
_ABOUT = (
    "Tables 1 to 6 as the RECIPE paper prints them, checked against themselves and against the "
    "paper's claims. Written by `python -m bench audit`."
)

Verdict = Literal["holds", "fails", "differs", "impossible", "noted", "not tested"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
MEANINGS: Mapping[Verdict, str] = {
    "holds": "the printed numbers bear it out",
    "fails": "the printed numbers contradict a claim of the paper, as it is worded here",
    "differs": "two printed numbers that should agree do not, by more than their rounding",
    "impossible": "a printed number cannot come about in the way that is named",
    "noted": "worth knowing; it contradicts nothing",
    "not tested": "the numbers that it needs are not printed",
}

Numbers = Mapping[PublishedCell, Published]  # all published tables


@dataclass(frozen=True)
class Finding:
    """One line of the audit."""

    name: str  # unique within its check: `table5/ZSRE/1000`
    verdict: Verdict
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)  # in the units of the sentence


@dataclass(frozen=True, kw_only=True)
class Section:
    """A kind of question to the published tables, with its findings in the order of the tables."""

    key: str
    title: str
    rule: str  # what is compared and what counts, for all findings
    findings: tuple[Finding, ...]

    def named(self) -> Iterator[tuple[str, Finding]]:
        """Each finding under its id, which stays the same from version to version."""
        for finding in self.findings:
            yield f"{self.key}/{finding.name}", finding


def counts(sections: Sequence[Section]) -> dict[str, int]:
    """How many findings have each verdict, in the order of the verdicts."""
    counter = Counter(finding.verdict for section in sections for finding in section.findings)
    return {verdict: counter[verdict] for verdict in VERDICTS}


def lines(sections: Sequence[Section]) -> Iterator[str]:
    """A line for each finding under its check, then how many there are of each verdict."""
    width = max(map(len, VERDICTS))
    for section in sections:
        yield section.title
        yield from (
            f"  {finding.verdict:<{width}}  {finding.sentence}" for finding in section.findings
        )
        yield ""
    yield summary(sections)


def summary(sections: Sequence[Section]) -> str:
    """`181 findings: 107 holds, 12 fails, ...`."""
    total = counts(sections)
    listed = ", ".join(f"{count} {verdict}" for verdict, count in total.items() if count)
    return f"{sum(total.values())} findings: {listed}."


def markdown(sections: Sequence[Section]) -> str:
    """A report: counts by check, what verdicts mean, then each check's rule and findings."""
    table = ((s.title, *(str(n or "") for n in counts([s]).values())) for s in sections)
    parts = [
        "# Audit of the published tables",
        _ABOUT,
        markdown_table(("check", *VERDICTS), table),
        "\n".join(f"* **{verdict}**: {meaning}" for verdict, meaning in MEANINGS.items()),
    ]
    for section in sections:
        rows = (
            (finding.verdict, finding.sentence, f"`{name}`") for name, finding in section.named()
        )
        parts += [
            f"## {section.title}",
            section.rule,
            markdown_table(("verdict", "finding", "id"), rows),
        ]
    return "\n\n".join(parts) + "\n"


def to_json(sections: Sequence[Section]) -> str:
    """`{"schema", "counts", "findings"}`, one finding a line: two audits compare line by line.

    Numbers have six significant digits, so that they do not change with the version of a library.
    """
    entries = (
        json.dumps(
            {
                "id": name,
                "verdict": finding.verdict,
                "finding": finding.sentence,
                "numbers": {key: _rounded(value) for key, value in finding.numbers.items()},
            },
            ensure_ascii=False,
        )
        for section in sections
        for name, finding in section.named()
    )
    findings = ",\n".join(entries)
    head = f'"schema": {SCHEMA},\n"counts": {json.dumps(counts(sections))}'
    return f'{{\n{head},\n"findings": [\n{findings}\n]\n}}\n'


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{round(value, 9):.6g}")

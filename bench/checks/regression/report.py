"""All results of a check, as plain values and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.checks.regression.evidence import Comparison, Verdicts
from bench.checks.regression.rerun import Outcome
from bench.core.console import markdown_table

SCHEMA = 1


def plain(
    outcomes: Sequence[Outcome], claims: Sequence[Verdicts], comparisons: Sequence[Comparison]
) -> dict[str, Any]:
    """Plain JSON values."""
    return {
        "schema": SCHEMA,
        "references": [asdict(outcome) for outcome in outcomes],
        "claims": [
            {
                "claim": each.key,
                "text": each.published.claim.text,
                "source": each.published.claim.source,
                **{
                    side: {"verdict": judgement.verdict, "figures": judgement.figures}
                    for side, judgement in (("published", each.published), ("ours", each.ours))
                },
            }
            for each in claims
        ],
        "published": [
            {
                "table": each.cell.table,
                "editor": each.cell.editor,
                "dataset": each.cell.dataset,
                "n_edits": each.cell.n_edits,
                "metric": each.cell.metric,
                "ours": each.ours.mean,
                "published": each.published.value,
                "allowed": each.allowed,
                "verdict": each.verdict,
            }
            for each in comparisons
        ],
    }


def markdown(content: Mapping[str, Any]) -> str:
    """A report of the values of `plain`."""
    parts = ["# Check", "Written by `python -m bench check`."]
    if content["references"]:
        names = ("verdict", "cell", "detail")
        reruns = ([row[name] for name in names] for row in content["references"])
        parts += ["## References, run again", markdown_table(names, reruns)]
    if content["claims"]:
        sides = ("published", "ours")
        claims = (
            [row[side]["verdict"] for side in sides]
            + [row["text"], row["source"]]
            + [row[side]["figures"] for side in sides]
            for row in content["claims"]
        )
        columns = (*sides, "claim", "source", "published figures", "our figures")
        parts += ["## The paper's claims", markdown_table(columns, claims)]
    if content["published"]:
        names = ("verdict", *(name for name in content["published"][0] if name != "verdict"))
        cells = ([str(row[name]) for name in names] for row in content["published"])
        parts += ["## Cells of the paper's backbones", markdown_table(names, cells)]
    return "\n\n".join(parts) + "\n"

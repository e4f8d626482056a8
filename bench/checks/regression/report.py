"""What a check found, as plain values and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.checks.regression.claims import Verdicts
from bench.checks.regression.compare import Outcome
from bench.checks.regression.published import Beside
from bench.core.console import markdown_table

SCHEMA = 1


def plain(
    outcomes: Sequence[Outcome], claims: Sequence[Verdicts], cells: Sequence[Beside]
) -> dict[str, Any]:
    """Plain JSON values."""
    return {
        "schema": SCHEMA,
        "references": [
            {"cell": one.cell, "verdict": one.verdict, "detail": one.detail} for one in outcomes
        ],
        "claims": [
            {
                "claim": one.key,
                "text": one.claim.text,
                "source": one.claim.source,
                "published": {"verdict": one.published.verdict, "figures": one.published.figures},
                "ours": {"verdict": one.ours.verdict, "figures": one.ours.figures},
            }
            for one in claims
        ],
        "published": [
            {
                "table": one.place.table,
                "editor": one.place.editor,
                "dataset": one.place.dataset,
                "n_edits": one.place.n_edits,
                "metric": one.place.metric,
                "ours": one.ours.mean,
                "published": one.published.value,
                "allowed": one.allowed,
                "verdict": one.verdict,
            }
            for one in cells
        ],
    }


def markdown(content: Mapping[str, Any]) -> str:
    """A report of what `plain` holds."""
    parts = ["# Check", "Made by `python -m bench check`."]
    if content["references"]:
        reruns = ((one["verdict"], one["cell"], one["detail"]) for one in content["references"])
        parts += ["## References, run again", markdown_table(("verdict", "cell", "detail"), reruns)]
    if content["claims"]:
        claims = (
            (
                one["published"]["verdict"],
                one["ours"]["verdict"],
                one["text"],
                one["source"],
                one["published"]["figures"],
                one["ours"]["figures"],
            )
            for one in content["claims"]
        )
        columns = ("published", "ours", "claim", "source", "published figures", "our figures")
        parts += ["## The paper's claims", markdown_table(columns, claims)]
    if content["published"]:
        names = ("verdict", "table", "editor", "dataset", "n_edits", "metric", "ours", "published",
                 "allowed")  # fmt: skip
        cells = ([str(one[name]) for name in names] for one in content["published"])
        parts += ["## Cells of the paper's backbones", markdown_table(names, cells)]
    return "\n\n".join(parts) + "\n"

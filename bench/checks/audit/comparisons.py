"""Printed numbers compared with each other: claims, lost numbers, times, rises."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from bench.checks import claims as paper
from bench.checks.audit.findings import Finding, Numbers
from bench.checks.judging import Evidence, judge
from bench.core.published import Published, PublishedCell, distinct, edits, rivals

# Losses. In Table 4 RECIPE is compared with its own parts.
SINGLE = ("Rel", "Gen", "Loc", *paper.TASK_METRICS, paper.EDIT, paper.INFERENCE)
LESS_IS_BETTER = (paper.EDIT, paper.INFERENCE)
TABLES = (1, 2, 3, 5, 6)
# Rises.
STDS = 2.0  # of the difference, where a spread is printed
POINTS = 1.0  # where none is


def claims(numbers: Numbers) -> Iterator[Finding]:
    """Each claim of the paper in each of its tables."""
    printed = Evidence(tables={cell: number.value for cell, number in numbers.items()})
    for claim in paper.PRINTED:
        for judgement in judge(claim, printed):
            nearest = judgement.nearest
            yield Finding(
                f"{claim.key}/{judgement.exhibit.key}",
                judgement.verdict,
                f"{judgement.exhibit}: {claim.text} ({claim.source}); {judgement.figures}.",
                {
                    "compared": len(judgement.cases),
                    "against": len(judgement.broken),
                    **({"smallest_margin": nearest.margin} if nearest else {}),
                },
            )


def losses(numbers: Numbers) -> Iterator[Finding]:
    """For each table how many numbers RECIPE has the best of, then each that it has not."""
    for table in TABLES:
        contests = {
            cell: _ahead(numbers, cell)
            for cell in numbers
            if (cell.table, cell.editor) == (table, paper.RECIPE) and cell.metric in SINGLE
        }
        lost = {cell: ahead for cell, ahead in contests.items() if ahead}
        yield Finding(
            f"table{table}",
            "noted",
            f"Table {table}: RECIPE has the best of {len(contests) - len(lost)} of "
            f"{len(contests)} single numbers.",
            {"contests": len(contests), "lost": len(lost)},
        )
        yield from (_loss(numbers, cell, ahead) for cell, ahead in lost.items())


def _ahead(numbers: Numbers, cell: PublishedCell) -> list[PublishedCell]:
    """The editors that are better or as good, the best first."""
    sign = -1 if cell.metric in LESS_IS_BETTER else 1
    scores = {rival: sign * numbers[rival].value for rival in rivals(numbers, cell)}
    better = [rival for rival, score in scores.items() if score >= sign * numbers[cell].value]
    return sorted(better, key=lambda rival: -scores[rival])


def _loss(numbers: Numbers, cell: PublishedCell, ahead: Sequence[PublishedCell]) -> Finding:
    ours = numbers[cell].value
    values = {rival.editor: numbers[rival].value for rival in ahead}
    listed = ", ".join(
        f"{editor} {cell.text(value)} ({value - ours:+.{cell.decimals}f})"
        for editor, value in values.items()
    )
    parts = (f"table{cell.table}", cell.dataset, str(cell.n_edits), cell.metric)
    return Finding(
        "/".join(filter(None, parts)),
        "noted",
        f"Table {cell.table}, {cell.where}: {cell.metric} of RECIPE is {cell.text(ours)}; as good "
        f"or better: {listed}.",
        {paper.RECIPE: ours, **values},
    )


def times(numbers: Numbers) -> Iterator[Finding]:
    """Table 3's editors in the order of their edit time, and what each adds to an inference."""
    values = {cell: number.value for cell, number in numbers.items()}
    edit, inference = (
        {cell: value for cell, value in values.items() if cell.metric == metric}
        for metric in (paper.EDIT, paper.INFERENCE)
    )
    if edit:
        ordered = sorted(edit, key=edit.__getitem__)
        listed = ", ".join(f"{cell.editor} {cell.text(edit[cell])}" for cell in ordered)
        yield Finding(
            "table3/order",
            "noted",
            f"Table 3, seconds of an edit, the fastest first: {listed}.",
            {cell.editor: edit[cell] for cell in ordered},
        )
    plain = paper.plain_inference(values, paper.TIMES_TABLE)
    if plain:
        overheads = {cell.editor: value / plain - 1 for cell, value in inference.items()}
        listed = ", ".join(f"{editor} {share:+.1%}" for editor, share in overheads.items())
        yield Finding(
            "table3/overhead",
            "noted",
            f"Table 3, inference time over the {plain:.4f} s without an editor: {listed}.",
            {"plain_s": plain, **overheads},
        )


def rises(numbers: Numbers) -> Iterator[Finding]:
    """Numbers that rise with more edits, by editor, data set and neighbouring numbers of edits."""
    for table in paper.EDITING_TABLES:
        counts = distinct(numbers, table, lambda cell: cell.n_edits)
        series = distinct(numbers, table, lambda cell: (cell.editor, cell.dataset))
        metrics = distinct(numbers, table, lambda cell: cell.metric)
        for editor, dataset in series:
            for fewer, more in pairwise(counts):
                cells = [PublishedCell(table, fewer, editor, dataset, name) for name in metrics]
                rising = [cell for cell in cells if _rises(numbers, cell, more)]
                if rising:
                    yield _rise(numbers, rising, more)


def threshold(fewer: Published, more: Published) -> float:
    """How far a number must rise to be reported, before its rounding."""
    if fewer.std is None or more.std is None:
        return POINTS
    return STDS * math.hypot(fewer.std, more.std)


def _rises(numbers: Numbers, cell: PublishedCell, more: int) -> bool:
    before, after = numbers.get(cell), numbers.get(cell._replace(n_edits=more))
    if before is None or after is None:
        return False
    return after.value - before.value > threshold(before, after) + cell.unit


def _rise(numbers: Numbers, rising: list[PublishedCell], more: int) -> Finding:
    first = rising[0]
    after = {cell: numbers[cell._replace(n_edits=more)] for cell in rising}
    listed = ", ".join(
        f"{cell.metric} {shown(cell, numbers[cell])} to {shown(cell, after[cell])}"
        for cell in rising
    )
    return Finding(
        f"table{first.table}/{first.editor}/{first.dataset}/{first.n_edits}-{more}",
        "noted",
        f"Table {first.table}, {first.editor} on {first.dataset}, from {first.n_edits:,} to "
        f"{edits(more)}: {listed}.",
        {cell.metric: after[cell].value - numbers[cell].value for cell in rising},
    )


def shown(cell: PublishedCell, number: Published) -> str:
    """A number with its spread, as the paper prints it: `98.27±0.15`."""
    return cell.text(number.value) + ("" if number.std is None else f"±{cell.text(number.std)}")

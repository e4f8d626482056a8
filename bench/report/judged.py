"""Audit and claims as tables of the report, as their commands print them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.checks.audit import Section, audit
from bench.checks.audit.findings import MEANINGS, summary
from bench.checks.claims import Evidence
from bench.checks.regression.evidence import Verdicts, evidence, pinned, values, verdicts
from bench.checks.regression.published import Comparison, compare_published
from bench.core.cells import Cell, Identity
from bench.core.grids import TABLES, Table
from bench.core.names import in_paper
from bench.core.published import PublishedCell, all_numbers
from bench.evaluation.record_kinds import AbilityCell, TimingCell
from bench.report.grid import Column, Grid, GridRow, Value, plain
from bench.report.paper_tables import asked_alike, chosen_times
from bench.report.sources import Records
from bench.tables.table import PRESET, settings_of

ABOUT_CLAIMS = (
    "What the paper says, each claim as a comparison that any numbers can be put to; "
    "python -m bench check --against published says the same in the terminal."
)
_ABOUT_AUDIT = (
    "Tables 1 to 6 as the paper prints them, checked against themselves and against what the "
    "paper says of them; python -m bench audit says the same in the terminal."
)


def audit_sections() -> tuple[Section, ...]:
    """As `bench audit` computes them."""
    return audit(all_numbers())


def audit_lines(sections: Sequence[Section]) -> tuple[str, ...]:
    """What stands above the findings."""
    return _ABOUT_AUDIT, summary(sections)


def audit_grids(sections: Sequence[Section]) -> list[Grid]:
    """A table for each check."""
    columns = (
        Column(name="Verdict"), Column(name="Finding", words=True), Column(name="Id", words=True),
    )  # fmt: skip
    return [
        Grid(
            key=f"check-{section.check.key}",
            title=section.check.title,
            caption=(section.check.rule,),
            columns=columns,
            rows=tuple(
                GridRow(values=(_verdict(own.verdict), plain(own.sentence), plain(name)))
                for name, own in section.named()
            ),
            filters=("Verdict",),
        )
        for section in sections
    ]


def meanings() -> list[tuple[str, str]]:
    """What the verdicts of the audit mean."""
    return [(str(verdict), meaning) for verdict, meaning in MEANINGS.items()]


def _verdict(word: str, after: str = "") -> Value:
    return Value(text=word + after, verdict=word)


def judged(records: Records) -> list[Verdicts]:
    """The paper's claims on its numbers and on ours, as `bench check` judges them."""
    return list(verdicts(_ours(records)))


def _ours(records: Records) -> Evidence:
    """The numbers of the records; of the committed ones, what lies beside the tables too."""
    stored = list(records.all.values())
    numbers: dict[PublishedCell, float] = {}
    for table in TABLES.values():
        cells = _comparable(table, records.cells(table))
        if cells:
            numbers |= values(table, cells, stored)
    return evidence(numbers) if records.committed else Evidence(tables=numbers)


def _comparable(table: Table, cells: Sequence[Identity]) -> list[Identity]:
    """The cells of the paper's editors with their presets, measured alike, in the table's order."""
    own = [cell for cell in cells if _of_paper(cell)]
    if table.measures == "ablation":
        return own
    there = {cell.backbone for cell in own}
    chosen = next((name for name in table.backbones.values() if name in there), None)
    own = [cell for cell in own if cell.backbone == chosen]
    if table.measures == "times":
        return [*chosen_times([cell for cell in own if isinstance(cell, TimingCell)])]
    if table.measures == "general_ability":
        ability = [cell for cell in own if isinstance(cell, AbilityCell)]
        return [cell for cell in ability if asked_alike(cell) == asked_alike(ability[0])]
    editing = [cell for cell in own if isinstance(cell, Cell)]
    return [cell for cell in editing if settings_of(cell) == PRESET]


def _of_paper(cell: Identity) -> bool:
    """Claims are about the paper's editors."""
    stream = cell.to_dict().get("edits") or cell.to_dict()
    editor = stream.get("editor")
    return editor is None or in_paper(str(editor))


def claims_grid(judged_claims: Sequence[Verdicts]) -> Grid:
    """A line for each claim in each of its tables and figures."""
    known = pinned() or {}
    return Grid(
        key="claims",
        title="The paper's claims",
        caption=("Each claim is put to the published numbers and to ours, in the same words.",),
        columns=(
            Column(name="Where"),
            Column(name="Claim", words=True),
            Column(name="Published"),
            Column(name="Ours"),
            Column(name="Our figures", words=True),
            Column(name="Published figures", words=True),
            Column(name="Source", words=True),
        ),
        rows=tuple(_claim(claim, known.get(claim.key)) for claim in judged_claims),
        filters=("Where", "Published", "Ours"),
    )


def _claim(claim: Verdicts, known: tuple[str, str] | None) -> GridRow:
    theirs, ours = claim.pair
    return GridRow(
        values=(
            plain(str(claim.exhibit)),
            plain(claim.claim.text),
            _verdict(theirs),
            _verdict(ours, "" if known in (None, claim.pair) else " (changed)"),
            plain(claim.ours.figures),
            plain(claim.published.figures),
            plain(claim.claim.source),
        )
    )


def beside_grids(records: Records) -> list[Grid]:
    """Records of the paper's backbones, each cell against the published one, if there are any."""
    stored = list(records.all.values())
    editing = [table for table in TABLES.values() if table.measures == "editing"]
    compared = [own for table in editing for own in compare_published(table, stored)]
    if not compared:
        return []
    grid = Grid(
        key="published-cells",
        title="Cells of the paper's backbones",
        caption=("Records without a limit of samples, against what the paper prints.",),
        columns=(
            Column(name="Editor"), Column(name="Where"), Column(name="Metric"),
            Column(name="Ours", number=True), Column(name="Published", number=True),
            Column(name="Allowed", number=True), Column(name="Verdict"),
        ),
        rows=tuple(map(_beside, compared)),
        filters=("Verdict",),
    )  # fmt: skip
    return [grid]


def _beside(own: Comparison) -> GridRow:
    return GridRow(
        values=(
            plain(own.cell.editor),
            plain(f"Table {own.cell.table}, {own.cell.where}"),
            plain(own.cell.metric),
            plain(f"{own.ours.mean:.2f}", own.ours.mean),
            plain(f"{own.published.value:.2f}", own.published.value),
            plain(f"{own.allowed:.2f}", own.allowed),
            _verdict(own.verdict),
        )
    )

"""Audit and claims as tables of the report: what the commands behind them say."""

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
from bench.report.others import asked_alike, chosen_times
from bench.report.sources import Records
from bench.tables.labels import PRESET, settings_of

_ABOUT_CLAIMS = (
    "What the paper says, each claim as a comparison that any numbers can be put to; "
    "python -m bench check --against published says the same in the terminal."
)
_ABOUT_AUDIT = (
    "Tables 1 to 6 as the paper prints them, checked against themselves and against what the "
    "paper says of them; python -m bench audit says the same in the terminal."
)
CLAIMS_LINES = (_ABOUT_CLAIMS,)


def audit_sections() -> tuple[Section, ...]:
    """As `bench audit` finds them."""
    return audit(all_numbers())


def audit_lines(sections: Sequence[Section]) -> tuple[str, ...]:
    """What stands above the findings."""
    return _ABOUT_AUDIT, summary(sections)


def audit_grids(sections: Sequence[Section]) -> list[Grid]:
    """A table for each check."""
    return [
        Grid(
            key=f"check-{section.check.key}",
            title=section.check.title,
            caption=(section.check.rule,),
            columns=(
                Column(name="Verdict"),
                Column(name="Finding", words=True),
                Column(name="Id", words=True),
            ),
            rows=tuple(
                GridRow(
                    values=(
                        Value(text=one.verdict, verdict=one.verdict), plain(one.sentence),
                        plain(name),
                    ),
                    filters={"Verdict": one.verdict},
                )
                for name, one in section.named()
            ),
            filters=("Verdict",),
        )
        for section in sections
    ]  # fmt: skip


def meanings() -> list[tuple[str, str]]:
    """What the verdicts of the audit mean."""
    return [(str(verdict), said) for verdict, said in MEANINGS.items()]


def judged(found: Records) -> list[Verdicts]:
    """The paper's claims on its numbers and on ours, as `bench check` judges them."""
    return list(verdicts(_ours(found)))


def _ours(found: Records) -> Evidence:
    """The numbers of the records; of the committed ones, what lies beside the tables too."""
    records = list(found.all.values())
    numbers: dict[PublishedCell, float] = {}
    for table in TABLES.values():
        cells = _comparable(table, found.cells(table))
        if cells:
            numbers |= values(table, cells, records)
    return evidence(numbers) if found.committed else Evidence(tables=numbers)


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
        asked = [cell for cell in own if isinstance(cell, AbilityCell)]
        return [cell for cell in asked if asked_alike(cell) == asked_alike(asked[0])]
    editing = [cell for cell in own if isinstance(cell, Cell)]
    return [cell for cell in editing if settings_of(cell) == PRESET]


def _of_paper(cell: Identity) -> bool:
    """Claims are about the paper's editors."""
    stream = cell.to_dict().get("edits") or cell.to_dict()
    editor = stream.get("editor")
    return editor is None or in_paper(str(editor))


def claims_grid(found: Sequence[Verdicts]) -> Grid:
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
        rows=tuple(_claim(one, known.get(one.key)) for one in found),
        filters=("Where", "Published", "Ours"),
    )  # fmt: skip


def _claim(one: Verdicts, known: tuple[str, str] | None) -> GridRow:
    theirs, ours = one.pair
    changed = "" if known in (None, one.pair) else " (changed)"
    return GridRow(
        values=(
            plain(str(one.exhibit)),
            plain(one.claim.text),
            Value(text=theirs, verdict=theirs),
            Value(text=ours + changed, verdict=ours),
            plain(one.ours.figures),
            plain(one.published.figures),
            plain(one.claim.source),
        ),
        filters={"Where": str(one.exhibit), "Published": theirs, "Ours": ours},
    )


def beside(found: Records) -> list[Comparison]:
    """Records of the paper's backbones, each cell against the published one."""
    records = list(found.all.values())
    return [
        one
        for table in TABLES.values()
        if table.measures == "editing"
        for one in compare_published(table, records)
    ]


def beside_grid(found: Sequence[Comparison]) -> Grid:
    """A line for each compared number."""
    return Grid(
        key="published-cells",
        title="Cells of the paper's backbones",
        caption=("Records without a limit of samples, against what the paper prints.",),
        columns=(
            Column(name="Editor"), Column(name="Where"), Column(name="Metric"),
            Column(name="Ours", number=True), Column(name="Published", number=True),
            Column(name="Allowed", number=True), Column(name="Verdict"),
        ),
        rows=tuple(
            GridRow(
                values=(
                    plain(one.cell.editor),
                    plain(f"Table {one.cell.table}, {one.cell.where}"),
                    plain(one.cell.metric),
                    plain(f"{one.ours.mean:.2f}", one.ours.mean),
                    plain(f"{one.published.value:.2f}", one.published.value),
                    plain(f"{one.allowed:.2f}", one.allowed),
                    Value(text=one.verdict, verdict=one.verdict),
                ),
                filters={"Verdict": one.verdict},
            )
            for one in found
        ),
        filters=("Verdict",),
    )  # fmt: skip

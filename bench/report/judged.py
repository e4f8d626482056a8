"""Audit and claims as pages of the report, as their commands print them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.checks.audit import audit
from bench.checks.audit.findings import MEANINGS, summary
from bench.checks.judging import Evidence
from bench.checks.regression.evidence import (
    Verdicts,
    compare_published,
    evidence,
    pinned,
    values,
    verdicts,
)
from bench.core.cells import Cell, Identity, stream_of
from bench.core.grids import TABLES, Table
from bench.core.names import in_paper
from bench.core.published import PublishedCell, all_numbers
from bench.evaluation.record_kinds import AbilityCell, TimingCell
from bench.report.pages import Column, Grid, GridRow, Page, Value, plain, tables_page
from bench.report.paper_tables import asked_alike, chosen_times
from bench.report.sources import Records
from bench.tables.table import PRESET, settings_of

ABOUT_CLAIMS = (
    "What the paper says, each claim as a comparison that any numbers can be put to; "
    "python -m bench check --against published says the same in the terminal."
)
ABOUT_AUDIT = (
    "Tables 1 to 6 as the paper prints them, checked against themselves and against what the "
    "paper says of them; python -m bench audit says the same in the terminal."
)


def audit_page() -> Page:
    """A table for each check, under what the verdicts mean."""
    sections = audit(all_numbers())
    columns = Column("Verdict"), Column("Finding", words=True), Column("Id", words=True)
    grids = [
        Grid(
            key=f"check-{section.key}", title=section.title, columns=columns,
            caption=(section.rule,), filters=("Verdict",),
            rows=tuple(
                GridRow((_verdict(own.verdict), plain(own.sentence), plain(name)))
                for name, own in section.named()
            ),
        )
        for section in sections
    ]  # fmt: skip
    return tables_page(
        "audit.html", "Audit", grids, "the published tables checked against themselves",
        lines=(ABOUT_AUDIT, summary(sections)),
        terms=[(str(verdict), meaning) for verdict, meaning in MEANINGS.items()],
    )  # fmt: skip


def claims_page(records: Records) -> Page:
    """The paper's claims, and cells of the paper's backbones beside the published ones."""
    grids = [claims_grid(judged(records)), *_compared(records)]
    about = "the paper's claims on its numbers and on ours"
    return tables_page("claims.html", "Claims", grids, about, lines=[ABOUT_CLAIMS])


def judged(records: Records) -> list[Verdicts]:
    """The paper's claims on its numbers and on ours, as `bench check` judges them.

    Of the committed records, what lies beside the tables is evidence too.
    """
    stored = list(records.all.values())
    numbers: dict[PublishedCell, float] = {}
    for table in TABLES.values():
        cells = _comparable(table, records.cells(table))
        if cells:
            numbers |= values(table, cells, stored)
    ours = evidence(numbers) if records.committed else Evidence(tables=numbers)
    return list(verdicts(ours))


def _comparable(table: Table, cells: Sequence[Identity]) -> Sequence[Identity]:
    """The cells of the paper's editors with their presets, measured alike, in the table's order."""
    editors = [(cell, stream_of(cell.to_dict()).get("editor")) for cell in cells]
    own = [cell for cell, editor in editors if editor is None or in_paper(editor)]
    if table.measures == "ablation":
        return own
    there = {cell.backbone for cell in own}
    chosen = next((name for name in table.backbones.values() if name in there), None)
    own = [cell for cell in own if cell.backbone == chosen]
    if table.measures == "times":
        return chosen_times([cell for cell in own if isinstance(cell, TimingCell)])
    if table.measures == "general_ability":
        ability = [cell for cell in own if isinstance(cell, AbilityCell)]
        return [cell for cell in ability if asked_alike(cell) == asked_alike(ability[0])]
    return [cell for cell in own if isinstance(cell, Cell) and settings_of(cell) == PRESET]


def claims_grid(claims: Sequence[Verdicts]) -> Grid:
    """A line for each claim in each of its tables and figures."""
    known = pinned() or {}
    rows = []
    for claim in claims:
        (theirs, ours), pair = claim.pair, known.get(claim.key)
        changed = "" if pair in (None, claim.pair) else " (changed)"
        lead = (str(claim.published.exhibit), claim.published.claim.text)
        both = (_verdict(theirs), _verdict(ours, changed))
        texts = (claim.ours.figures, claim.published.figures, claim.published.claim.source)
        rows.append(GridRow((*map(plain, lead), *both, *map(plain, texts))))
    return Grid(
        key="claims", title="The paper's claims",
        caption=("Each claim is put to the published numbers and to ours, in the same words.",),
        columns=(
            Column("Where"), Column("Claim", words=True), Column("Published"),
            Column("Ours"), Column("Our figures", words=True),
            Column("Published figures", words=True), Column("Source", words=True),
        ),
        rows=tuple(rows), filters=("Where", "Published", "Ours"),
    )  # fmt: skip


def _compared(records: Records) -> list[Grid]:
    """Records of the paper's backbones, each cell against the published one, if there are any."""
    stored = list(records.all.values())
    editing = [table for table in TABLES.values() if table.measures == "editing"]
    rows = []
    for own in (own for table in editing for own in compare_published(table, stored)):
        lead = (own.cell.editor, f"Table {own.cell.table}, {own.cell.where}", own.cell.metric)
        numbers = (own.ours.mean, own.published.value, own.allowed)
        texts = (plain(f"{number:.2f}", number) for number in numbers)
        rows.append(GridRow((*map(plain, lead), *texts, _verdict(own.verdict))))
    grid = Grid(
        key="published-cells", title="Cells of the paper's backbones",
        caption=("Records without a limit of samples, against what the paper prints.",),
        columns=(
            *(Column(name) for name in ("Editor", "Where", "Metric")),
            *(Column(name, number=True) for name in ("Ours", "Published", "Allowed")),
            Column("Verdict"),
        ),
        rows=tuple(rows), filters=("Verdict",),
    )  # fmt: skip
    return [grid] if rows else []


def _verdict(word: str, after: str = "") -> Value:
    return Value(text=word + after, verdict=word)

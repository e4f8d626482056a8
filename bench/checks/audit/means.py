"""Printed means and sums against the numbers that they summarise, and Table 4 against Table 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.checks.audit.findings import Finding, Numbers
from bench.checks.claims.claim import RECIPE
from bench.checks.claims.judging import ABLATION_TABLE, LLAMA_TABLE, MEAN, TOTAL
from bench.core.published import UNEDITED, PublishedCell

# Decimal fractions are compared as binary ones; far below the last printed digit.
_BINARY = 1e-9


def within_rounding(off: float, allowance: float) -> bool:
    """Whether rounding alone can bring two numbers `off` apart.

    The allowance itself is out of reach: a half is rounded up, so one side never has all of it.
    """
    return abs(off) < allowance - _BINARY


@dataclass(frozen=True, kw_only=True)
class _Derived:
    """A printed mean or sum, and its value computed from the printed parts."""

    cell: PublishedCell
    printed: float
    computed: float
    allowance: float  # half a unit of the last digit for either, or for each part of a sum

    @property
    def off(self) -> float:
        return self.printed - self.computed

    @property
    def explained(self) -> bool:
        return within_rounding(self.off, self.allowance)

    @property
    def numbers(self) -> dict[str, float]:
        return {"printed": self.printed, "made": self.computed, "allowance": self.allowance}


def averages(numbers: Numbers) -> Iterator[Finding]:
    """For each table with means or sums a summary, then each that rounding cannot explain."""
    by_table: dict[int, list[_Derived]] = {}
    for cell, parts in _with_parts(numbers):
        values = [numbers[part].value for part in parts]
        total = cell.metric == TOTAL
        derived = _Derived(
            cell=cell,
            printed=numbers[cell].value,
            computed=sum(values) if total else fmean(values),
            allowance=cell.unit * (len(values) + 1) / 2 if total else cell.unit,
        )
        by_table.setdefault(cell.table, []).append(derived)
    for table, in_table in by_table.items():
        yield _summary(table, in_table)
        yield from (_unexplained(derived) for derived in in_table if not derived.explained)


def _with_parts(numbers: Numbers) -> Iterator[tuple[PublishedCell, list[PublishedCell]]]:
    """Every mean and sum with its parts, all of one editor at one number of edits."""
    rows: dict[tuple[int, int, str], list[PublishedCell]] = {}
    for cell in numbers:
        rows.setdefault(cell[:3], []).append(cell)
    for row in rows.values():
        for cell in row:
            others = [other for other in row if other != cell]
            if cell.metric == MEAN:  # over the tasks
                yield cell, others
            elif cell.metric in ("Avg", TOTAL):  # on one data set
                yield cell, [other for other in others if other.dataset == cell.dataset]


def _summary(table: int, in_table: Sequence[_Derived]) -> Finding:
    exact = sum(within_rounding(derived.off, derived.cell.unit / 2) for derived in in_table)
    explained = [abs(derived.off) for derived in in_table if derived.explained]
    outside, worst = len(in_table) - len(explained), max(explained, default=0.0)
    kind = "sums" if in_table[0].cell.metric == TOTAL else "means"
    return Finding(
        f"table{table}",
        "differs" if outside else "holds",
        f"Table {table}: of {len(in_table)} {kind} {exact} are what their printed parts make, "
        f"{len(explained) - exact} more are within rounding (up to {worst:.4f} off), {outside} "
        "cannot come from it.",
        {"printed": len(in_table), "exact": exact, "outside": outside, "largest_off": worst},
    )


def _unexplained(derived: _Derived) -> Finding:
    cell = derived.cell
    return Finding(
        f"table{cell.table}/{cell.n_edits}/{cell.editor}/{cell.dataset or cell.metric}",
        "impossible",
        f"Table {cell.table}, {cell.editor}, {cell.where}: {cell.metric} is printed as "
        f"{cell.text(derived.printed)}, its parts make {cell.text(derived.computed)}; "
        f"{abs(derived.off):.4f} apart, where rounding allows less than {derived.allowance:.4f}.",
        derived.numbers,
    )


def ablation(numbers: Numbers) -> Iterator[Finding]:
    """RECIPE's row of Table 4 number by number, then what must hold of the unedited model."""
    for cell in numbers:
        if (cell.table, cell.editor) == (ABLATION_TABLE, RECIPE):
            yield _against_table_1(numbers, cell)
    for metric in ("Rel", "Gen", "Loc"):
        row = (ABLATION_TABLE, UNEDITED, metric)
        values = [n.value for c, n in numbers.items() if (c.table, c.editor, c.metric) == row]
        same = set(values) == {100.0 if metric == "Loc" else values[0]}
        listed = " and ".join(f"{value:.2f}" for value in values)
        yield Finding(
            f"table4/unedited/{metric}",
            "holds" if same else "impossible",
            f"Table 4, unedited: {metric} is printed as {listed}; a model that nobody edits has "
            f"{'Loc 100' if metric == 'Loc' else f'one {metric}'}.",
            {"lowest": min(values), "highest": max(values)},
        )


def _against_table_1(numbers: Numbers, cell: PublishedCell) -> Finding:
    same = (LLAMA_TABLE, cell.n_edits, RECIPE, cell.metric)
    parts = [number.value for c, number in numbers.items() if (*c[:3], c.metric) == same]
    derived = _Derived(
        cell=cell, printed=numbers[cell].value, computed=fmean(parts), allowance=cell.unit
    )
    return Finding(
        f"table4/{cell.n_edits}/{cell.metric}",
        "holds" if derived.explained else "differs",
        f"Table 4, RECIPE, {cell.where}: {cell.metric} is printed as {cell.text(derived.printed)}, "
        f"Table 1's {len(parts)} data sets make {derived.computed:.4f}; {derived.off:+.4f}, where "
        f"rounding allows less than {derived.allowance:.4f}.",
        derived.numbers,
    )

"""What printed numbers must be: means and sums of others, counts of rows and of right answers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bench.checks import claims as paper
from bench.checks.audit.findings import Finding, Numbers, Verdict
from bench.core.names import DATASETS
from bench.core.published import UNEDITED, PublishedCell, distinct
from bench.datasets import get_dataset
from bench.datasets.base import Split

# Decimal fractions are compared as binary ones; far below the last printed digit.
_BINARY = 1e-9
# Rows that the paper states: of the edit sets for training and test, and the test rows of MMLU and
# CSQA. RIPE's test rows, MMLU's and CSQA's are from its text; the other sizes are those under which
# the files are released, and were not compared with the wording of the appendix.
STATED_EDITS: Mapping[str, Mapping[Split, int]] = {
    "zsre": {"train": 162_555, "test": 19_009},
    "counterfact": {"train": 10_000, "test": 10_000},
    "ripple_edits": {"train": 3_000, "test": 1_388},
}
STATED = {"MMLU": 5_871, "CSQA": 1_140}
# Rows of the public sets that the released code scores: all 57 test files of MMLU, the validation
# split of CSQA (the answers of its test split are not public), the three test rounds of ANLI.
SCORED = {"MMLU": (14_042,), "CSQA": (1_221,), "ANLI": (1_000, 1_000, 1_200)}
# The options of each multiple-choice task, and the rows that the unedited model may be scored on,
# by description; accuracies are averaged over the parts.
OPTIONS = {"CSQA": 5, "MMLU": 4, "ANLI": 3}
CANDIDATES: dict[str, dict[str, tuple[int, ...]]] = {
    "CSQA": {"the validation split": SCORED["CSQA"], "the test split": (STATED["CSQA"],)},
    "MMLU": {
        "the test rows that the paper states": (STATED["MMLU"],),
        "the test files of all subjects": SCORED["MMLU"],
    },
    "ANLI": {
        "the three test rounds": (sum(SCORED["ANLI"]),),
        "the mean of the test rounds": SCORED["ANLI"],
    },
}


# ---- means and sums ----------------------------------------------------------------------------


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
        total = cell.metric == paper.TOTAL
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
            if cell.metric == paper.MEAN:  # over the tasks
                yield cell, others
            elif cell.metric in ("Avg", paper.TOTAL):  # on one data set
                yield cell, [other for other in others if other.dataset == cell.dataset]


def _summary(table: int, in_table: Sequence[_Derived]) -> Finding:
    exact = sum(within_rounding(derived.off, derived.cell.unit / 2) for derived in in_table)
    explained = [abs(derived.off) for derived in in_table if derived.explained]
    outside, worst = len(in_table) - len(explained), max(explained, default=0.0)
    kind = "sums" if in_table[0].cell.metric == paper.TOTAL else "means"
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
        if (cell.table, cell.editor) == (paper.ABLATION_TABLE, paper.RECIPE):
            yield _against_table_1(numbers, cell)
    for metric in ("Rel", "Gen", "Loc"):
        row = (paper.ABLATION_TABLE, UNEDITED, metric)
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
    same = (paper.LLAMA_TABLE, cell.n_edits, paper.RECIPE, cell.metric)
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


# ---- counts --------------------------------------------------------------------------------------


def rows(numbers: Numbers) -> Iterator[Finding]:
    """What each edit set must have for the printed cells, then each stated count."""
    for key in DATASETS:
        dataset = get_dataset(key)
        yield _needed(numbers, dataset.label, dataset.files["test"].rows)
    for key, splits in STATED_EDITS.items():
        dataset = get_dataset(key)
        for split, stated in splits.items():
            rows, where = dataset.files[split].rows, f"in the released {split} file"
            yield _stated(f"{dataset.label}/{split}", stated, rows, where)
    mmlu, csqa = (sum(SCORED[name]) for name in ("MMLU", "CSQA"))
    yield _stated("MMLU/test", STATED["MMLU"], mmlu, "in the test files of its 57 subjects")
    yield _stated(
        "CSQA/test", STATED["CSQA"], csqa, "in the validation split, whose answers are public"
    )


def _stated(name: str, stated: int, available: int, where: str) -> Finding:
    label, split = name.split("/")
    return Finding(
        f"stated/{name}",
        "holds" if stated == available else "differs",
        f"{label}: {stated:,} {split} rows are stated, there are {available:,} {where}.",
        {"stated": stated, "rows": available},
    )


def _needed(numbers: Numbers, label: str, available: int) -> Finding:
    """A cell of n edits needs n rows, and one that is left empty should lack them."""
    counts = {n for t in paper.EDITING_TABLES for n in distinct(numbers, t, lambda c: c.n_edits)}
    printed = {c.n_edits for c in numbers if c.table in paper.EDITING_TABLES and c.dataset == label}
    allowed = sorted(n for n in counts if n <= available)
    wrong = ", ".join(f"{n:,}" for n in sorted(printed.symmetric_difference(allowed)))
    largest = max(printed)
    outcome = f"printed against that or empty without reason: {wrong}" if wrong else "as printed"
    return Finding(
        f"needed/{label}",
        "fails" if wrong else "holds",
        f"{label}: {available:,} test rows allow {', '.join(f'{n:,}' for n in allowed)} edits, "
        f"{outcome}; blocks of {largest:,} leave {available % largest:,} rows out.",
        {"rows": available, "largest": largest, "left_out": available % largest},
    )


def tasks(numbers: Numbers) -> Iterator[Finding]:
    """Each task: whether the unedited accuracy is a count over its rows, how far from chance."""
    for label, candidates in CANDIDATES.items():
        cell = PublishedCell(paper.ABILITY_TABLE, 0, UNEDITED, label, "accuracy")
        for described, parts in candidates.items():
            yield _as_count(cell, numbers[cell].value, described, parts)
        scored = sum(next(iter(candidates.values())))
        yield _against_chance(numbers, cell, OPTIONS[label], scored)


def step_of(parts: tuple[int, ...]) -> float:
    """The step, in percent, between accuracies averaged over parts of so many rows.

    Whole counts reach every multiple of it, but for some near 0 and 100.
    """
    common = math.lcm(*parts)
    return 100 * math.gcd(*(common // n for n in parts)) / (len(parts) * common)


def _as_count(
    cell: PublishedCell, printed: float, described: str, parts: tuple[int, ...]
) -> Finding:
    step = step_of(parts)
    nearest = round(printed / step) * step
    verdict: Verdict
    if step <= cell.unit:
        verdict, outcome = "not tested", "any printed number is a count over them"
    elif within_rounding(printed - nearest, cell.unit / 2):
        verdict, outcome = "holds", f"a count over them gives {nearest:.4f}"
    else:
        below, above = (math.floor(printed / step) + i for i in (0, 1))
        verdict = "impossible"
        outcome = f"counts over them give {below * step:.4f} or {above * step:.4f}"
    sizes = " + ".join(f"{n:,}" for n in parts)
    return Finding(
        f"{cell.dataset}/{'+'.join(map(str, parts))}",
        verdict,
        f"Table 2, unedited, {cell.dataset}: {cell.text(printed)} over {described} ({sizes} rows): "
        f"{outcome}.",
        {"printed": printed, "step": step, "nearest": nearest},
    )


def _against_chance(numbers: Numbers, cell: PublishedCell, options: int, scored: int) -> Finding:
    share = numbers[cell].value / 100
    chance = 100 / options
    errors = (share - chance / 100) / math.sqrt(share * (1 - share) / scored)
    edited = [
        number.value
        for other, number in numbers.items()
        if (other.table, other.dataset) == (cell.table, cell.dataset) and other.editor != UNEDITED
    ]
    return Finding(
        f"{cell.dataset}/chance",
        "noted",
        f"Table 2, {cell.dataset}: guessing among {options} gives {chance:.2f}; the "
        f"unedited model has {100 * share:.2f}, {errors:.1f} standard errors of {scored:,} rows "
        f"from it, edited ones {min(edited):.2f} to {max(edited):.2f}.",
        {"chance": chance, "unedited": 100 * share, "standard_errors": errors},
    )

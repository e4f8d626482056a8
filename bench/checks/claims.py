"""What the paper claims: each claim a predicate over any numbers, the published ones or our own.

`claims.toml` has the claims in words; here are the comparisons that decide them.

No printed table can decide the claims of `UNPRINTED`. The paper prints Figures 3 and 4, on the
number of continuous prompt tokens (CPTs), as pictures only. And it names LLaMA-2's architecture as
the reason why ROME and MEMIT are worse on it; the rival explanation is the covariance of their
keys. If the architecture is the reason, the gap remains when both do without covariance on every
backbone; if it closes, the covariance is.
"""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench.checks.judging import AbsentError, Case, Claim, Compare, Evidence, Exhibit, Rows, Values
from bench.core.published import UNEDITED, PublishedCell, numbers, rivals

EDITING_TABLES = (1, 5, 6)  # one backbone each
RECIPE = "RECIPE"
# The paper's groups of editors; the claims do not concern other editors.
WEIGHT_EDITORS = ("FT", "MEND", "ROME", "MEMIT", "MALMEN", "WILKE")
RETRIEVAL_EDITORS = ("GRACE", "R-ROME", "LTE", RECIPE)
# Tables 1, 5 and 6: lifelong editing.
# A score with more than the first share of its value at 1 edit is preserved, one with less than the
# second has collapsed (ours: the paper's lowest Loc of an editor that retrieves has 73% left, and
# the second share is as far from all as the first is from nothing lost).
PRESERVED, COLLAPSED = 0.7, 0.3
LONG = 1_000  # edits by which editors have collapsed; longer streams count where all rows are there
LEAD = 0.5  # points by which the best is better than the next (ours: the paper's least is 0.68)
LLAMA_TABLE = 1
FACT_WRITERS = ("ROME", "MEMIT")  # of which the paper says that they are worse on LLaMA-2
COLLAPSED_BELOW = 1.0  # points: two scores, or their difference, below it say nothing (ours)
COVARIANCE_EDITS = 100  # the longest stream without covariance (ours)
STAYS = 0.5  # share of a gap, above which it has not closed (ours)
# Table 2: general ability after 1,000 edits.
ABILITY_TABLE = 2
MEAN = "mean"  # the metric of the last column
TASK_METRICS = ("accuracy", "1/PPL")
ABILITY_WITHIN = 1.0  # points of the unedited model's score
ABILITY_LEAD = 0.1  # points of the mean (ours: the paper's lead is 0.2)
# Table 3: times after 10,000 edits.
TIMES_TABLE = 3
EDIT, INFERENCE, TOTAL = "edit_time_s", "infer_time_s", "total_time_s"
OVERHEAD = "inference_over_unedited"  # ours, measured in pairs; the paper prints none
# Trained before the first edit, or searching for each edit by back-propagation.
META_TRAINED = ("MEND", "MALMEN", "LTE", RECIPE)
BACK_PROPAGATING = ("FT", "ROME", "MEMIT", "WILKE", "TP", "GRACE", "R-ROME")
# Times this near are equal (ours: half of the overhead that the table shows for T-Patcher).
EQUAL_WITHIN = 0.02
# Table 4: RECIPE without its parts, as the table's data name them.
ABLATION_TABLE = 4
NO_CPT, NO_KS, NEITHER = "minus_CPT", "minus_KS", "minus_BOTH"
ABLATED_WITHIN = 1.0  # points of the unedited model's score (ours)
# Figures 3 and 4.
CHANGED = 0.5  # points: a smaller change is none (ours)
NEARER = 0.05  # share of a distance ratio by which the nearest is nearer than the next (ours)
CHOSEN = 3  # CPTs of the paper's RECIPE
MORE = (4, 5)  # the paper's numbers of CPTs above it
MAPPED = (1, 3, 5)  # CPTs of the paper's Figure 4
EMBEDDING_SPACE = "embedding space"  # every other space is a map of the plane


# ---- rows and numbers --------------------------------------------------------------------------


@cache
def _printed(table: int) -> tuple[PublishedCell, ...]:
    return tuple(numbers(table))


@cache
def _place(cell: PublishedCell) -> tuple[PublishedCell, ...]:
    """The number of every printed editor at a place of a table."""
    printed = _printed(cell.table)
    if cell.table == TIMES_TABLE:  # printed for one number of edits, whichever ours is
        printed = tuple(own._replace(n_edits=cell.n_edits) for own in printed)
    return tuple(own for own in printed if own._replace(editor=cell.editor) == cell)


def _rows(
    editors: Collection[str],
    *metrics: str,
    where: Callable[[PublishedCell], bool] = lambda _: True,
) -> Rows:
    """What the paper prints of some editors and metrics, in the order of the table."""

    def rows(evidence: Evidence, table: int) -> Iterator[PublishedCell]:
        n_edits = timed_edits(evidence.tables) if table == TIMES_TABLE else None
        for printed in _printed(table):
            cell = printed if n_edits is None else printed._replace(n_edits=n_edits)
            wanted = cell.editor in editors and cell.metric in metrics and where(cell)
            if wanted and (cell.n_edits <= LONG or _whole(evidence, cell)):
                yield cell

    return rows


def _whole(evidence: Evidence, cell: PublishedCell) -> bool:
    """Whether every printed row of a place in a table has its number."""
    return cell.table == TIMES_TABLE or all(own in evidence.tables for own in _place(cell))


def timed_edits(values: Values) -> int:
    """The largest number of edits after which every printed editor has times, else any has."""
    printed = {cell.editor for cell in _printed(TIMES_TABLE)}
    timed: dict[int, set[str]] = {}
    for cell in values:
        if cell.table == TIMES_TABLE and cell.metric == EDIT:
            timed.setdefault(cell.n_edits, set()).add(cell.editor)
    whole = [n_edits for n_edits, editors in timed.items() if editors >= printed]
    return max(whole or timed, default=LONG)


def _totals(evidence: Evidence, table: int) -> Iterator[PublishedCell]:
    """RECIPE's total time after each number of edits after which it has one."""
    totals = (cell for cell in evidence.tables if cell.metric == TOTAL and cell.editor == RECIPE)
    edits = sorted({cell.n_edits for cell in totals})
    for cell in _rows((RECIPE,), TOTAL)(evidence, table):
        yield from (cell._replace(n_edits=n_edits) for n_edits in edits or [cell.n_edits])


def _number(values: Values, cell: PublishedCell) -> float:
    if cell not in values:
        raise AbsentError(f"{cell.metric} of {cell.editor}, {cell.where}")
    return values[cell]


def _pairs(fast: Collection[str], slow: Collection[str], metric: str) -> Rows:
    """Each of some editors with each of others."""

    def rows(evidence: Evidence, table: int) -> Iterator[tuple[PublishedCell, PublishedCell]]:
        for cell in _rows(fast, metric)(evidence, table):
            for other in _rows(slow, metric)(evidence, table):
                yield cell, other

    return rows


# ---- kinds of comparison -----------------------------------------------------------------------


def _best(lead: float) -> Compare:
    """RECIPE has the best number of every other edited model, by so much."""

    def compare(evidence: Evidence, cell: PublishedCell) -> Case:
        values, sign = evidence.tables, -1 if cell.metric == TOTAL else 1  # less time is better
        value = _number(values, cell)
        others = rivals(_place(cell), cell)
        there = [other for other in others if other in values]
        best = max(there, key=lambda other: sign * values[other], default=None)
        ahead = sign * (value - values[best]) if best else 0.0
        ahead /= value if cell.metric == TOTAL else 1.0
        if best is None or (ahead > lead and len(there) < len(others)):
            first = next(other for other in others if other not in values)
            raise AbsentError(f"{first.metric} of {first.editor}, {first.where}")
        figures = f"{cell.text(value)}, {best.editor} {best.text(values[best])}"
        return Case(cell.where, figures, ahead - lead)

    return compare


def _share(*, preserved: bool) -> Compare:
    """A score has more of its value at 1 edit than `PRESERVED`, or less than `COLLAPSED`."""

    def compare(evidence: Evidence, cell: PublishedCell) -> Case | None:
        value = _number(evidence.tables, cell)
        first = _number(evidence.tables, cell._replace(n_edits=1))
        if not first:  # there is no share of 0
            return None
        share = value / first
        return Case(
            f"{cell.metric} of {cell.editor} on {cell.where}",
            f"{cell.text(first)} to {cell.text(value)}, {share:.0%}",
            share - PRESERVED if preserved else COLLAPSED - share,
        )

    return compare


def _worse_on_llama(evidence: Evidence, cell: PublishedCell) -> Case | None:
    pair = _with_llama(evidence.tables, cell)
    if pair is None:
        return None
    llama, here = pair
    figures = f"{cell.text(llama)} on LLaMA-2, {cell.text(here)} here"
    return Case(f"{cell.editor} on {cell.where}", figures, here - llama - COLLAPSED_BELOW)


def _gap_stays(evidence: Evidence, cell: PublishedCell) -> Case | None:
    usual = _with_llama(evidence.with_covariance, cell)
    without = _with_llama(evidence.without_covariance, cell)
    if usual is None or without is None:
        return None
    gap, left = usual[1] - usual[0], without[1] - without[0]
    if gap <= COLLAPSED_BELOW:  # there is nothing to explain
        return None
    figures = f"{cell.text(gap)} points lower with covariance, {cell.text(left)} without"
    return Case(f"{cell.editor} on {cell.where}", figures, left - STAYS * gap)


def _with_llama(values: Values, cell: PublishedCell) -> tuple[float, float] | None:
    """(on LLaMA-2, here); None where both have collapsed."""
    pair = _number(values, cell._replace(table=LLAMA_TABLE)), _number(values, cell)
    return None if max(pair) < COLLAPSED_BELOW else pair


def _level(*, within: float, lost: bool = False) -> Compare:
    """A score is the unedited model's within so many points, or, if `lost`, lower by more."""

    def compare(evidence: Evidence, cell: PublishedCell) -> Case:
        ability = cell.table == ABILITY_TABLE
        plain = cell._replace(n_edits=0 if ability else cell.n_edits, editor=UNEDITED)
        value, unedited = _number(evidence.tables, cell), _number(evidence.tables, plain)
        below = unedited - value
        on_set = f"{cell.editor} on {cell.dataset}"
        return Case(
            on_set if ability else f"{cell.metric} of {cell.editor}, {cell.where}",
            f"{cell.text(value)}, unedited {cell.text(unedited)}",
            below - within if lost else within - abs(below),
        )

    return compare


def _faster(evidence: Evidence, pair: tuple[PublishedCell, PublishedCell]) -> Case:
    """The first takes less time than the second, by more than times differ that are equal."""
    cell, other = pair
    of = _overhead if cell.metric == INFERENCE else _number
    short, long = of(evidence.tables, cell), of(evidence.tables, other)
    figures = (
        f"{short:.2f} and {long:.2f} of an unedited inference"
        if cell.metric == INFERENCE
        else f"{cell.text(short)} and {other.text(long)} s, {other.where}"
    )
    share = (long - short) / max(long, short)
    return Case(f"{cell.editor} and {other.editor}", figures, share - EQUAL_WITHIN)


def _weights_add_nothing(evidence: Evidence, cell: PublishedCell) -> Case:
    overhead = _overhead(evidence.tables, cell) - 1
    return Case(cell.editor, f"{overhead:+.1%}, {cell.where}", EQUAL_WITHIN - abs(overhead))


def _overhead(values: Values, cell: PublishedCell) -> float:
    """An inference over the unedited model's: measured in pairs, as we print it, or in seconds."""
    paired, plain = cell._replace(metric=OVERHEAD), plain_inference(values, cell.table)
    if paired in values or plain is None:
        return _number(values, paired)
    return _number(values, cell) / plain


def plain_inference(values: Values, table: int) -> float | None:
    """Seconds of one inference without an editor; None where no number gives it.

    The unedited model's, or, as the paper does not time it, the median of the editors that change
    nothing but weights.
    """
    for editors in ((UNEDITED,), WEIGHT_EDITORS):
        seconds = [
            value
            for cell, value in values.items()
            if (cell.table, cell.metric) == (table, INFERENCE) and cell.editor in editors
        ]
        if seconds:
            return statistics.median(seconds)
    return None


def _without_ks(evidence: Evidence, cell: PublishedCell) -> Case:
    """Gen and Loc lose, and they lose more than Rel."""
    ablated = (cell, cell._replace(metric="Rel"))
    loss, of_rel = (
        _number(evidence.tables, own._replace(editor=RECIPE)) - _number(evidence.tables, own)
        for own in ablated
    )
    figures = f"{loss:.2f} points lost, {of_rel:.2f} of Rel"
    return Case(f"{cell.metric}, {cell.where}", figures, min(loss, loss - of_rel) - ABLATED_WITHIN)


def _dips_in_gen(evidence: Evidence, metric: str) -> Case:
    gen, other = _change(evidence, "Gen", to=1), _change(evidence, metric, to=1)
    if metric == "Gen":
        return Case("Gen", f"{gen:+.2f} points", -gen - CHANGED)
    figures = f"{gen:+.2f} and {other:+.2f} points"
    return Case(f"Gen and {metric}", figures, other - gen - CHANGED)


def _changes(sign: int) -> Compare:
    """A metric goes up (`sign` 1) or down (-1) with more tokens than the chosen number."""

    def compare(evidence: Evidence, row: tuple[int, str]) -> Case:
        length, metric = row
        change = _change(evidence, metric, to=length)
        figures = f"{change:+.2f} points"
        return Case(f"{metric} with {length} CPTs", figures, sign * change - CHANGED)

    return compare


def _change(evidence: Evidence, metric: str, *, to: int) -> float:
    """By how many points a metric is higher than with the chosen number of tokens."""
    for length in (CHOSEN, to):
        if (length, metric) not in evidence.lengths:
            raise AbsentError(f"{metric} with {length} CPTs")
    return evidence.lengths[to, metric] - evidence.lengths[CHOSEN, metric]


def _nearest(evidence: Evidence, space: str) -> Case:
    """The chosen number of tokens is nearest."""
    for length in MAPPED:
        if (space, length) not in evidence.distances:
            raise AbsentError(f"{space} with {length} CPTs")
    ratios = {length: evidence.distances[space, length] for length in MAPPED}
    chosen = ratios.pop(CHOSEN)
    others = ", ".join(f"{ratio:.2f} with {length}" for length, ratio in ratios.items())
    figures = f"distance ratio {chosen:.2f} with {CHOSEN} CPTs, {others}"
    return Case(space, figures, min(ratios.values()) / chosen - 1 - NEARER)


def _maps(evidence: Evidence, _: int) -> list[str]:
    spaces = dict.fromkeys(space for space, _ in evidence.distances)
    return [space for space in spaces if space != EMBEDDING_SPACE]


def _claims(deciding: Mapping[str, tuple[Rows, Compare]]) -> tuple[Claim, ...]:
    """The claims of these keys; their texts name the thresholds above."""
    words = tomllib.loads(Path(__file__).with_name("claims.toml").read_text("utf-8"))
    return tuple(
        Claim(
            key=key,
            text=words[key]["text"].format_map(globals()),
            source=words[key]["source"],
            exhibits=tuple(
                Exhibit(kind, number)
                for kind in ("table", "figure")
                for number in words[key].get(f"{kind}s", ())
            ),
            rows=rows,
            compare=compare,
        )
        for key, (rows, compare) in deciding.items()
    )


def _long(cell: PublishedCell) -> bool:
    return cell.n_edits == LONG


def _fixed(*rows: Any) -> Rows:
    return lambda *_: rows


PRINTED = _claims(
    {
        "recipe-best-average": (_rows((RECIPE,), "Avg"), _best(LEAD)),
        "retrieval-keeps-locality": (
            _rows(RETRIEVAL_EDITORS, "Loc", where=lambda cell: cell.n_edits > 1),
            _share(preserved=True),
        ),
        "weight-editors-collapse": (
            _rows(WEIGHT_EDITORS, "Avg", where=_long),
            _share(preserved=False),
        ),
        "t-patcher-keeps-edits": (
            _rows(("TP",), "Rel", "Gen", where=_long),
            _share(preserved=True),
        ),
        "t-patcher-loses-zsre-locality": (
            _rows(("TP",), "Loc", where=lambda cell: _long(cell) and cell.dataset == "ZSRE"),
            _share(preserved=False),
        ),
        "rome-memit-worse-on-llama": (_rows(FACT_WRITERS, "Avg"), _worse_on_llama),
        "general-ability-lost": (
            _rows((*WEIGHT_EDITORS, "TP", "LTE"), MEAN),
            _level(within=ABILITY_WITHIN, lost=True),
        ),
        "general-ability-kept": (
            _rows(("GRACE", "R-ROME", RECIPE), MEAN, *TASK_METRICS),
            _level(within=ABILITY_WITHIN),
        ),
        "general-ability-best": (_rows((RECIPE,), MEAN), _best(ABILITY_LEAD)),
        "meta-trained-edit-faster": (_pairs(META_TRAINED, BACK_PROPAGATING, EDIT), _faster),
        "weight-editors-infer-as-unedited": (
            _rows(WEIGHT_EDITORS, INFERENCE),
            _weights_add_nothing,
        ),
        "memory-editors-infer-slower": (
            _pairs(WEIGHT_EDITORS, ("TP", "GRACE"), INFERENCE),
            _faster,
        ),
        "recipe-shortest-total": (_totals, _best(EQUAL_WITHIN)),
        "without-cpt-unedited": (
            _rows((NO_CPT, NEITHER), "Rel", "Gen", "Loc"),
            _level(within=ABLATED_WITHIN),
        ),
        "without-ks-gen-loc": (_rows((NO_KS,), "Gen", "Loc"), _without_ks),
    }
)
UNPRINTED = _claims(
    {
        "rome-memit-worse-on-llama-without-covariance": (
            _rows(FACT_WRITERS, "Avg", where=lambda cell: cell.n_edits <= COVARIANCE_EDITS),
            _gap_stays,
        ),
        "one-cpt-dips-mostly-in-gen": (_fixed("Gen", "Rel", "Loc"), _dips_in_gen),
        "more-cpts-raise-rel-gen": (
            _fixed(*((length, metric) for length in MORE for metric in ("Rel", "Gen"))),
            _changes(1),
        ),
        "more-cpts-lower-loc": (_fixed(*((length, "Loc") for length in MORE)), _changes(-1)),
        "three-cpts-nearest-words": (_maps, _nearest),
        "three-cpts-nearest-words-unmapped": (_fixed(EMBEDDING_SPACE), _nearest),
    }
)
CLAIMS = (*PRINTED, *UNPRINTED)

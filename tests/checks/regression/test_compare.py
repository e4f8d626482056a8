"""Two records compared: exactly, by flipped items on another machine, and over every name."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest

from bench.checks.regression.compare import FACTOR, FLIPS, MEASURED, compare
from bench.evaluation.metrics import summarise
from bench.store import results
from bench.store.reference import compact, reference_records
from bench.store.results import Record
from tests.core.test_cells import CELL
from tests.store.test_reference import full, row

HERE = {
    "libraries": {"torch": "2.13.0"},
    "threads": 1,
    "hardware": {"cpu_capability": "AVX512", "device": "cpu"},
    "seconds": {},
}
SAMPLES = 20
KINDS = ("table1", "table2", "table3", "table4")  # editing, general ability, times, variants


@pytest.fixture
def now() -> Record:
    rows = [row(position, position % 3 > 0, True, True) for position in range(SAMPLES)]
    return dict(full(rows, SAMPLES)) | {"provenance": copy.deepcopy(HERE)}


def scores_of(record: Record) -> dict[str, float]:
    scores = record["summary"]["scores"]["after"]["teacher_forced"]["token_accuracy"]
    assert isinstance(scores, dict)
    return scores


def shifted(now: Record, by: float, *, elsewhere: bool = False) -> Record:
    """The reference of a record, with one score moved."""
    reference = copy.deepcopy(compact(now))
    scores_of(reference)["reliability"] += by
    if elsewhere:
        reference["provenance"]["hardware"]["cpu_capability"] = "NEON"
    return reference


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every name and list entry in what is compared."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for name, part in inner:
        if path or name in MEASURED:
            yield (*path, name)
            if isinstance(part, dict | list):
                yield from places(part, (*path, name))


def altered(record: Record, path: tuple[Any, ...], value: Any = None, *, drop: bool) -> Record:
    changed = copy.deepcopy(record)
    node: Any = changed
    for name in path[:-1]:
        node = node[name]
    if drop:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return changed


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("which", ["the reference", "the record of now"])
def test_whatever_is_absent_or_no_number_differs(name: str, which: str) -> None:
    record = reference_records(name)[0]
    assert compare(record, record, name).verdict == "equal"
    for path in places(record):
        for changed in (
            altered(record, path, drop=True),
            altered(record, path, [0.5, 0.5], drop=False),
            altered(record, path, math.nan, drop=False),
            altered(record, path, math.inf, drop=False),
            altered(record, path, "0.5", drop=False),
        ):
            pair = (record, changed) if which == "the record of now" else (changed, record)
            outcome = compare(*pair, name)
            assert (outcome.verdict, outcome.good) == ("differs", False), path
            assert outcome.detail


@pytest.mark.parametrize(("factor", "verdict"), [(1 + 3e-6, "near"), (1 + 3e-5, "differs")])
def test_an_effect_may_be_rounded_otherwise_on_one_machine(
    factor: float, verdict: str, now: Record
) -> None:
    reference = copy.deepcopy(compact(now))
    for record, effect in ((now, 2.5), (reference, 2.5 * factor)):
        record["health"] = [{"block": 0, "effect": effect, "diverged_at": None}]
    assert compare(reference, now, "a cell").verdict == verdict


def test_what_is_missing_is_named(now: Record) -> None:
    changed = copy.deepcopy(now)
    del scores_of(changed)["generality"]
    detail = compare(compact(now), changed, "a cell").detail
    assert detail == "summary/scores/after/teacher_forced/token_accuracy/generality is absent"
    assert compare(compact(changed), now, "a cell").detail.endswith("generality is new")
    scores_of(changed)["generality"] = math.nan
    assert "generality is no finite number" in compare(compact(now), changed, "a cell").detail


def test_a_record_is_equal_or_differs_on_the_same_machine(now: Record) -> None:
    assert compare(compact(now), now, "a cell").verdict == "equal"
    outcome = compare(shifted(now, 1e-6), now, "a cell")
    assert (outcome.verdict, outcome.good) == ("differs", False)
    assert "token_accuracy/reliability was 0.825001 and is 0.825000" in outcome.detail


@pytest.mark.parametrize("samples", [20, 400])
@pytest.mark.parametrize(("flips", "verdict"), [(FLIPS, "near"), (FLIPS + 0.5, "differs")])
def test_elsewhere_so_many_items_may_flip_whatever_their_number(
    samples: int, flips: float, verdict: str
) -> None:
    rows = [row(position, position % 2 > 0, True, True) for position in range(samples)]
    now = dict(full(rows, samples)) | {"provenance": copy.deepcopy(HERE)}
    outcome = compare(shifted(now, -flips / samples, elsewhere=True), now, "a cell")
    assert (outcome.verdict, outcome.good) == (verdict, verdict == "near")
    assert verdict == "differs" or f"by {FLIPS} items at most" in outcome.detail


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("hardware", "cpu_capability", "AVX2"), ("libraries", "torch", "2.12.0")],
)
def test_another_machine_or_library_has_a_tolerance(
    now: Record, part: str, name: str, value: str
) -> None:
    reference = shifted(now, -1 / SAMPLES)
    assert compare(reference, now, "a cell").verdict == "differs"
    reference["provenance"][part][name] = value
    assert compare(reference, now, "a cell").verdict == "near"


def test_a_score_of_few_samples_counts_its_own(now: Record) -> None:
    """Generality that only two samples ask moves by a half with one of them."""
    for sample in now["rows"][2:]:
        sample["items"] = sample["items"][:1]
    now["summary"] = summarise(now["rows"])
    reference = copy.deepcopy(compact(now))
    scores_of(reference)["generality"] -= 0.5
    reference["provenance"]["hardware"]["cpu_capability"] = "NEON"
    assert compare(reference, now, "a cell").detail.endswith(
        "by 1 items at most, on another machine"
    )


def test_counts_are_exact_everywhere(now: Record) -> None:
    reference = shifted(now, 0.0, elsewhere=True)
    reference["summary"]["samples"] -= 1
    assert "summary/samples was 19 and is 20" in compare(reference, now, "a cell").detail


@pytest.mark.parametrize(("factor", "verdict"), [(0.7, "differs"), (1 - 1 / 500, "near")])
def test_general_ability_is_counted_in_questions(factor: float, verdict: str) -> None:
    now = next(r for r in reference_records("table2") if r["cell"]["edits"] is not None)
    reference = copy.deepcopy(now)
    reference["provenance"]["hardware"]["cpu_capability"] = "NEON"
    for task in reference["summary"]["tasks"].values():
        task["score"] *= factor
    assert compare(reference, now, "a cell").verdict == verdict


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.0, "equal"), (3.0, "near"), (0.0, "differs"), (-1.0, "differs"), (2 * FACTOR, "differs")],
)
def test_times_have_the_shape_of_the_reference(factor: float, verdict: str) -> None:
    now = next(r for r in reference_records("table3") if r["summary"]["edit"] is not None)
    reference = copy.deepcopy(now)
    reference["summary"]["edit"]["median"] *= factor
    assert compare(reference, now, "a cell").verdict == verdict
    reference["summary"]["edit"]["count"] += 1
    assert compare(reference, now, "a cell").verdict == "differs"


def test_a_cell_that_raises_has_failed(now: Record) -> None:
    failed = results.failed(CELL, {}, HERE, RuntimeError("out of luck"))
    outcome = compare(compact(now), failed, "a cell")
    assert (outcome.verdict, outcome.detail) == ("failed", "RuntimeError: out of luck")
    assert compare(failed, now, "a cell").verdict == "differs"


def test_records_of_other_cells_or_without_a_score_differ(now: Record) -> None:
    assert compare(compact(now) | {"key": "0" * 64}, now, "a cell").verdict == "differs"
    empty: dict[str, Any] = {name: {} for name in MEASURED}
    assert "no score" in compare(compact(now) | empty, compact(now) | empty, "x").detail

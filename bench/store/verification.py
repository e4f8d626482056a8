"""Whether a full record holds: its form, whether its rows are those of its cell, and its numbers.

Who changes a record can seal it anew, so that a digest says nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.core.cells import Cell
from bench.datasets import get_dataset, is_own, is_present, remember
from bench.evaluation.record_kinds import AbilityCell, TimingCell
from bench.store.results import Record, ResultStore, is_complete, read_file
from bench.store.schema import violations
from bench.world.store import written_data_dir
from editors import registry

if TYPE_CHECKING:
    from editors.base import EditSample

TOLERANCE = 1e-9  # Python versions differ in the last bits of sums


def problems_in(store: ResultStore) -> Iterator[tuple[str, list[str]]]:
    """(file, what is wrong with it) of every record file, nothing where all is well."""
    for path in store.paths():
        try:
            yield str(path), [f"{path}: {problem}" for problem in problems(read_file(path))]
        except ValueError as error:
            yield str(path), [str(error)]


def problems(record: Record) -> list[str]:
    """What is wrong with a record that is sealed well: its form, its rows, then its numbers."""
    broken = violations(record)
    if broken or not is_complete(record):
        return broken
    if "rows" not in record:
        return ["it has no rows, so that nothing follows from them."]
    wrong = next(shortcomings(record), None) or contradiction(record)
    return [] if wrong is None else [f"{wrong}."]


def contradiction(record: Record) -> str | None:
    """The first number that does not follow from the rows, None where all do.

    Times have no rows that their summary could follow from. Metric sets of a user's own data set
    that is not at hand are not looked at.
    """
    cell, summary = record["cell"], record["summary"]
    if cell.get("kind") not in {Cell.kind, AbilityCell.kind}:
        return None
    try:
        remember([record])
        measured = record.get("measured", {})
        if cell.get("kind") == Cell.kind and not is_present(cell["dataset"]):
            measured = {}
            summary = {name: value for name, value in summary.items() if name != "measures"}
        wanted = _summary_of(record, measured)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        return f"no summary follows from its rows: {type(error).__name__}: {error}"
    return next(_differences(wanted, summary, "summary"), None)


def _summary_of(record: Record, measured: Mapping[str, Any]) -> dict[str, Any]:
    from bench.evaluation.driver import summary_of
    from bench.evaluation.general_ability.scoring import summarise

    if record["cell"].get("kind") == Cell.kind:
        return summary_of(Cell.from_dict(record["cell"]), record["rows"], measured)
    edited = {"reliability": record["summary"]["reliability"]}  # of the edits, which are no rows
    return summarise(record["rows"]) | edited


def _differences(wanted: Any, actual: Any, where: str) -> Iterator[str]:
    if isinstance(wanted, Mapping) and isinstance(actual, Mapping):
        if wanted.keys() != actual.keys():
            odd = min(wanted.keys() ^ actual.keys())
            yield f"{where}/{odd} is in one of its rows and its summary alone"
        for name in wanted.keys() & actual.keys():
            yield from _differences(wanted[name], actual[name], f"{where}/{name}")
        return
    numbers = isinstance(wanted, int | float) and isinstance(actual, int | float)
    if wanted != actual and not (numbers and abs(wanted - actual) <= TOLERANCE):
        yield f"{where} is {actual}, but {wanted} follows from its rows"


# ---- rows beside their cell ----------------------------------------------------------------------


def shortcomings(record: Record) -> Iterator[str]:
    """What the rows lack, or have too much, of those that the cell computes; in words."""
    kinds = {Cell.kind: _of_editing, AbilityCell.kind: _of_ability, TimingCell.kind: _of_times}
    return kinds[record["cell"].get("kind")](record)


def _of_editing(record: Record) -> Iterator[str]:
    yield from _of_editor(record)
    cell, rows, samples = record["cell"], record["rows"], record["data"].get("samples")
    if not isinstance(samples, int):
        yield "data has no number of samples, from which that of the rows follows"
        return
    blocks = min(samples, cell["limit"] or samples) // cell["n_edits"]
    if len(rows) != blocks * cell["n_edits"]:
        yield f"it has {len(rows):,} rows, but its cell {blocks * cell['n_edits']:,} samples"
    if len({row["id"] for row in rows}) < len(rows):
        yield "two of its rows are of one sample"
    yield from _of_health(record, blocks, cell["n_edits"])
    channels = _channels(cell)
    for number, row in enumerate(rows):
        block, position = divmod(number, cell["n_edits"])
        if (row["block"], row["position"]) != (block, position):
            yield f"row {number} is not at position {position} of block {block}"
        if [item["aspect"] for item in row["items"]].count("reliability") != 1:
            yield f"row {number} has not one question about its own edit"
        if any(
            item[phase].keys() != channels[phase] for item in row["items"] for phase in channels
        ):
            yield f"row {number} has other answers than its cell asks for"
    yield from _of_data(record)


def _of_data(record: Record) -> Iterator[str]:
    """Rows are those that the cell draws, where the file of its data set is at hand."""
    from bench.evaluation.probing import items_of

    cell, rows = Cell.from_dict(record["cell"]), record["rows"]
    samples = _at_hand(record)
    for number, (row, sample) in enumerate(zip(rows, cell.drawn(samples), strict=False)):
        if row["id"] != sample.id:
            yield f"row {number} is of {row['id']!r:.60}, but its cell draws {sample.id}"
        asked = [(i["aspect"], i["kind"], i["prompt"], i["target"]) for i in row["items"]]
        if asked != [(i.aspect, i.kind, i.prompt, i.target) for i in items_of(sample)]:
            yield f"row {number} has other questions than {sample.id}"


def _at_hand(record: Record) -> Sequence[EditSample]:
    """The samples that a record drew from; none where its file is not at hand."""
    cell = record["cell"]
    world = re.fullmatch(r"embedded world (\d+)", str(cell["dataset_revision"]))
    directory = written_data_dir(int(world[1])) if world else None
    if directory is None or not is_present(cell["dataset"]):
        return ()
    loaded = get_dataset(cell["dataset"]).load("test", directory)
    same = loaded.digest == cell["dataset_digest"]
    same &= len(loaded.samples) == record["data"]["samples"]
    return loaded.samples if same else ()


def _of_editor(record: Record) -> Iterator[str]:
    """The editor is called as its cell's is, which only a user's own can change."""
    key, facts = record["cell"]["editor"], record["editor"]
    if key in registry.shipped() and not is_own(record):
        entry = registry.describe(key)
        if (facts["label"], facts["family"]) != (entry.label, entry.family):
            yield f"its editor is called {facts['label']!r:.60}, but its cell is of {entry.label}"


def _channels(cell: Mapping[str, Any]) -> dict[str, set[str]]:
    """How a cell asks, before and after its edits."""
    decoded = set() if cell["generation"] == "none" else {"generated"}
    return {
        "before": {"teacher_forced"} | decoded,
        "after": {"teacher_forced", "prompt_only"} | decoded,
    }


def _of_ability(record: Record) -> Iterator[str]:
    cell, questions = record["cell"], record["data"].get("questions")
    if not isinstance(questions, dict) or questions.keys() != cell["tasks"].keys():
        yield "data has not the numbers of questions of its sets"
        return
    asked: dict[tuple[str, str], list[int]] = {}  # by set, and by prompt where there are several
    for row in record["rows"]:
        asked.setdefault((row["task"], row.get("prompt", "")), []).append(row["index"])
    for task in questions.keys() - {task for task, _ in asked}:
        yield f"it has no rows of {task}"
    for (task, _), indices in asked.items():
        there = questions.get(task, 0)
        wanted = min(there, cell["task_limit"] or there)
        if not len(set(indices)) == len(indices) == wanted:
            yield f"it has {len(set(indices)):,} questions of {task}, but its cell asks {wanted:,}"
    edits = cell["edits"] or {"n_edits": 0}
    yield from _of_health(record, min(edits["n_edits"], 1), edits["n_edits"])


def _of_times(record: Record) -> Iterator[str]:
    cell, summary = record["cell"], record["summary"]
    counts = dict.fromkeys(("forward", "forward_bfloat16", "generation"), cell["queries"])
    counts |= dict.fromkeys(("edit", "edit_least"), cell["n_edits"])
    for name, wanted in counts.items():
        if (own := summary.get(name)) is not None and own["count"] != wanted:
            yield f"summary/{name} is over {own['count']:,}, but its cell times {wanted:,}"
    if (summary["edit"] is None) != (cell["editor"] is None):
        yield "its edits are timed without an editor, or not timed"


def _of_health(record: Record, blocks: int, n_edits: int) -> Iterator[str]:
    """Health is that of each block, in order."""
    there = [entry["block"] for entry in record["health"]]
    if there != list(range(blocks)):
        yield f"its health is of {len(there):,} blocks, but its cell has {blocks:,}"
    for entry in record["health"]:
        effect, diverged_at = entry["effect"], entry["diverged_at"]
        if (diverged_at or 0) > n_edits:
            yield f"block {entry['block']} diverged after more edits than it has"
        if effect is not None and (effect < 0 or diverged_at is not None):
            yield f"block {entry['block']} has an effect of {effect} that no edits have"

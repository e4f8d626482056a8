"""Conflicts: a fact that is edited twice, whose newest edit should win.

At the end of a block, when its ordinary questions have been asked, up to ten of its edits, drawn by
the cell's seed, are edited once more: the same prompt with another target. That target is the one
of another sample whose prompt is worded alike but for the subject (the same relation; else one that
begins with the same two words; else any), drawn by the seed without looking at any answer. The
repeated edits come in the order of the first ones, one call each. Then the prompt and those
generality questions that ask for the edit's own target are asked.

A verdict compares the most likely tokens with both targets, forced, looked up by the prompt alone:
`newest` where all tokens of the later target are hit, `older` where all of the earlier one are,
else `neither`; where one target begins with the other and both are hit, the longer one counts.
Shares in [0, 1] over the questions, of the prompts (`request`) and of the others (`rephrase`).

* `stream`: after the whole block and the repeated edits.
* `forward` and `reverse`: the same pairs alone in an unedited model, all first targets and then all
  second ones, and the other way round. Where the newest wins in one order only, the editor holds on
  to a target, not to the last word. `gap` is forward less reverse.

Ours; the question of edits that contradict each other is that of Li et al., "Unveiling the Pitfalls
of Knowledge Editing" (ICLR 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from bench.core.cells import Cell
from bench.evaluation.inference import Forced
from bench.evaluation.metric_sets import Block, MetricSet, RunningCell, SetResults
from bench.evaluation.metrics import SampleRow, normalise
from bench.evaluation.probing import Item, items_of
from editors.base import EditRequest, EditSample

PAIRS = 10  # of a block; ours
Verdict = Literal["newest", "older", "neither"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
QUESTIONS = ("request", "rephrase")
ORDERS = ("stream", "forward", "reverse")
_DRAWN = 4  # of the generator's seed, so that no other draw has the same numbers


@dataclass(frozen=True, kw_only=True)
class Pair:
    """An edit and the one that contradicts it."""

    sample: EditSample
    later: EditRequest
    taken_from: str  # id of the sample whose target it is
    likeness: str  # of that sample's prompt

    @property
    def questions(self) -> list[Item]:
        """The prompt, and the questions that ask for the edit's own target."""
        request = self.sample.request
        return [
            item
            for item in items_of(self.sample)
            if item.aspect != "locality" and item.target == request.target
        ]


class Conflicts(MetricSet):
    name = "conflicts"
    version = 1
    title = "which of two edits of one fact wins"
    edits_on = True
    most_blocks = 20

    def at_end(self, running: RunningCell, number: int, block: Block, before: Any) -> Any:
        """Edit on, then start again with the pairs alone; the editor is not reset afterwards."""
        chosen = pairs(block, running.samples, [running.cell.seed, number, _DRAWN])
        first = [pair.sample.request for pair in chosen]
        second = [pair.later for pair in chosen]
        asked = {"stream": _asked(running, chosen, second, newest="later")}
        running.editor.reset()
        asked["forward"] = _asked(running, chosen, [*first, *second], newest="later")
        running.editor.reset()
        asked["reverse"] = _asked(running, chosen, [*second, *first], newest="first")
        return [
            {
                "id": pair.sample.id,
                "target": pair.sample.request.target,
                "later": pair.later.target,
                "taken_from": pair.taken_from,
                "likeness": pair.likeness,
                "questions": [item.prompt for item in pair.questions],
                **{order: asked[order][i] for order in ORDERS},
            }
            for i, pair in enumerate(chosen)
        ]

    def summary(self, cell: Cell, rows: Sequence[SampleRow], results: SetResults) -> dict[str, Any]:
        asked = [pair for block in results.blocks for pair in block["end"]]
        likeness = [pair["likeness"] for pair in asked]
        orders = {order: _shares([pair[order] for pair in asked]) for order in ORDERS}
        forward, reverse = (orders[order]["request"] for order in ("forward", "reverse"))
        return {
            "pairs": len(asked),
            "likeness": {name: likeness.count(name) for name in dict.fromkeys(likeness)},
            **orders,
            "gap": forward["newest"] - reverse["newest"] if forward else None,
        }

    def columns(self, summary: Mapping[str, Any]) -> Mapping[str, float | None]:
        """Shares in percent, and how many pairs there were."""
        columns: dict[str, float | None] = {"pairs": summary["pairs"]}
        for question in QUESTIONS:
            shares = summary["stream"][question]
            for verdict in VERDICTS:
                share = shares.get(verdict)
                columns[f"{question} {verdict}"] = None if share is None else 100 * share
        for order in ("forward", "reverse"):
            share = summary[order]["request"].get("newest")
            columns[f"{order} newest"] = None if share is None else 100 * share
        return columns


def pairs(block: Block, samples: Sequence[EditSample], seed: Sequence[int]) -> list[Pair]:
    """Up to ten edits of a block, in its order, each with one that contradicts it."""
    rng = np.random.default_rng(list(seed))
    places = sorted(rng.permutation(len(block))[:PAIRS].tolist())
    drawn = (_pair(block[place], samples, rng) for place in places)
    return [pair for pair in drawn if pair is not None]


def _pair(
    sample: EditSample, samples: Sequence[EditSample], rng: np.random.Generator
) -> Pair | None:
    """The edit with another target; None where no other sample has one."""
    request = sample.request
    own, known = normalise(request.target), normalise(request.subject)
    others = [
        other
        for other in samples
        if normalise(other.request.target) != own and normalise(other.request.subject) != known
    ]
    for likeness, alike in _LIKENESS.items():
        mine = alike(request)
        pool = [s for s in others if mine is not None and alike(s.request) == mine]
        if pool:
            other = pool[int(rng.integers(len(pool)))]
            later = replace(request, target=other.request.target)
            return Pair(sample=sample, later=later, taken_from=other.id, likeness=likeness)
    return None


def template(request: EditRequest) -> str | None:
    """The prompt with a gap for its subject; None where the subject is not in it."""
    if not request.subject.strip() or request.subject not in request.prompt:
        return None
    return " ".join(request.prompt.replace(request.subject, "{}").casefold().split())


_LIKENESS: dict[str, Callable[[EditRequest], str | None]] = {
    "template": template,
    "beginning": lambda request: " ".join(request.prompt.casefold().split()[:2]),
    "any": lambda _: "",
}


def _asked(
    running: RunningCell, chosen: Sequence[Pair], requests: Iterable[EditRequest], newest: str
) -> list[list[Verdict]]:
    """Apply edits, then ask about all pairs; a verdict for each question of each pair."""
    for request in requests:
        running.after_batch()
        running.editor.edit([request])
    items = [
        replace(item, target=target)
        for pair in chosen
        for item in pair.questions
        for target in (pair.sample.request.target, pair.later.target)
    ]
    answers = iter(running.forced(items, retrieval_text="prompt_only"))
    return [[_verdict(next(answers), next(answers), newest) for _ in pair.questions]
            for pair in chosen]  # fmt: skip


def _verdict(first: Forced, later: Forced, newest: str) -> Verdict:
    """Which target the model gives, from the answers to both."""
    given = [
        answer
        for answer in (first, later)
        if math.isfinite(answer.log_probability) and answer.predicted_ids == answer.target_ids
    ]
    if not given:
        return "neither"
    longest = max(given, key=lambda answer: len(answer.target_ids))
    return "newest" if (longest is later) == (newest == "later") else "older"


def _shares(verdicts: Sequence[Sequence[Verdict]]) -> dict[str, dict[str, float]]:
    """Question -> verdict -> share; without questions nothing."""
    asked = {
        "request": [row[0] for row in verdicts],
        "rephrase": [verdict for row in verdicts for verdict in row[1:]],
    }
    return {
        name: {v: given.count(v) / len(given) for v in VERDICTS} if given else {}
        for name, given in asked.items()
    }

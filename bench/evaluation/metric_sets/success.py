"""Success and magnitude: is the new answer more probable than the former one?

Of samples whose data set names the answer that the edit replaces (`EditSample.former`, CF's
`ground_truth`), each question is asked with two answers forced after it, once each:

* efficacy (`reliability`): the edit's own prompt, the new answer against the former one;
* paraphrase (`generality`): the same for its rephrasings;
* neighbourhood (`locality`): its locality questions, their own answer against the edit's new one.

A probability is that of a token, the geometric mean over the answer's tokens. `success`, in
[0, 1], is the share of questions whose wanted answer is the more probable one; `magnitude`, in
[-1, 1], is the mean of its probability minus the other's. Both are means over the samples of their
means over questions. `score` is the harmonic mean of the three successes, 0 where one of them is.
An answer is looked up by the prompt alone, so that neither of the two is favoured. `before` has the
same numbers of the unedited model.

Source: Meng et al. (ROME, NeurIPS 2022), section 3.4 and appendix; MEMIT and AlphaEdit print the
same. Their fluency is the entropy of `collapse`. Their consistency needs reference texts that CF's
rows do not have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from bench.core.cells import Cell
from bench.evaluation.metric_sets import Block, MetricSet, RunningCell, SetResults
from bench.evaluation.metrics import ASPECTS, Aspect, SampleRow
from bench.evaluation.probing import Item
from editors.base import EditSample

PRINTED = {"reliability": "E", "generality": "P", "locality": "N"}  # as the papers abbreviate them

Pair = list[Any]  # of JSON: aspect, log-probability of a token of the wanted answer, of other


class Success(MetricSet):
    name = "success"
    version = 1
    title = "success and magnitude of efficacy (E), paraphrases (P) and neighbourhood (N)"

    def before(self, running: RunningCell, blocks: Sequence[Block]) -> Any:
        return [_asked(running, block, edited=False) for block in blocks]

    def at_end(self, running: RunningCell, number: int, block: Block, before: Any) -> Any:
        return _asked(running, block, edited=True)

    def summary(self, cell: Cell, rows: Sequence[SampleRow], results: SetResults) -> dict[str, Any]:
        before = [sample for block in results.before for sample in block]
        after = [sample for block in results.blocks for sample in block["end"]]
        return {
            "samples": sum(map(bool, after)),
            "before": _numbers(before),
            "after": _numbers(after),
        }

    def columns(self, summary: Mapping[str, Any]) -> Mapping[str, float | None]:
        """In percent, after editing."""
        after = summary["after"]
        columns: dict[str, float | None] = {}
        for aspect, letter in PRINTED.items():
            own = after["aspects"].get(aspect)
            columns[f"{letter}S"] = own and 100 * own["success"]
            columns[f"{letter}M"] = own and 100 * own["magnitude"]
        columns["S"] = None if after["score"] is None else 100 * after["score"]
        return columns


def _asked(running: RunningCell, block: Block, *, edited: bool) -> list[list[Pair]]:
    """The pairs of each sample; none for a sample without a former answer."""
    pairs = [list(_questions(sample)) for sample in block]
    items = [item for sample in pairs for pair in sample for item in pair]
    answers = iter(running.forced(items, edited=edited, retrieval_text="prompt_only"))

    def nats() -> float:
        answer = next(answers)
        return answer.log_probability / len(answer.target_ids)

    return [[[wanted.aspect, nats(), nats()] for wanted, _ in sample] for sample in pairs]


def _questions(sample: EditSample) -> Iterator[tuple[Item, Item]]:
    """Each question with the wanted answer, and with the other."""
    request, former = sample.request, sample.former
    if not former:
        return
    own: list[tuple[Aspect, str]] = [("reliability", request.prompt)]
    own += [("generality", probe.prompt) for probe in sample.generality]
    for aspect, prompt in own:
        yield _item(aspect, prompt, request.target), _item(aspect, prompt, former)
    for probe in sample.locality:
        if probe.target == request.target:  # of another subject, of which it is true
            continue
        wanted = _item("locality", probe.prompt, probe.target)
        yield wanted, _item("locality", probe.prompt, request.target)


def _item(aspect: Aspect, prompt: str, target: str) -> Item:
    return Item(aspect=aspect, kind="success", prompt=prompt, target=target)


def _numbers(samples: Sequence[Sequence[Pair]]) -> dict[str, Any]:
    """Success and magnitude of each aspect that was asked, and the harmonic mean."""
    aspects = {}
    for aspect in ASPECTS:
        own = [[pair for pair in sample if pair[0] == aspect] for sample in samples]
        own = [pairs for pairs in own if pairs]
        if own:
            aspects[aspect] = {
                "success": fmean(fmean(a > b for _, a, b in pairs) for pairs in own),
                "magnitude": fmean(
                    fmean(math.exp(a) - math.exp(b) for _, a, b in pairs) for pairs in own
                ),
            }
    successes = [own["success"] for own in aspects.values()]
    return {
        "aspects": aspects,
        "score": _harmonic(successes) if len(successes) == len(ASPECTS) else None,
    }


def _harmonic(values: Sequence[float]) -> float:
    return len(values) / sum(1 / value for value in values) if all(values) else 0.0

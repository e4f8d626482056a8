from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from bench.checks.contract.tiny import tiny_llama
from bench.evaluation.inference import Forced, Question
from bench.evaluation.metric_sets import NO_INPUTS, RunningCell, SetResults, get_set
from bench.evaluation.metric_sets.conflicts import pairs, template
from editors.base import EditRequest, EditSample, Probe
from tests.core.test_cells import CELL
from tests.evaluation.metric_sets.by_hand import running
from tests.support.fake_editors import DoNothing

SET = get_set("conflicts")
NAMES = ("Ada", "Bo", "Cy", "Di")


def sample(name: str, target: str, prompt: str = "Where does {} live?") -> EditSample:
    asked = prompt.format(name)
    return EditSample(
        id=f"id-{name}",
        request=EditRequest(prompt=asked, target=target, subject=name),
        generality=(
            Probe(kind="rephrase", prompt=f"{name} lives in", target=target),
            Probe(kind="hop", prompt=f"{name} pays in", target="crowns"),
        ),
        locality=(Probe(kind="unrelated", prompt="Who is it?", target="nobody"),),
    )


BLOCK = tuple(sample(name, f"Port {name}") for name in NAMES)


class Memo(DoNothing):
    """Remembers one target for each prompt and its rephrase, by a rule of its own."""

    def __init__(self, rule: str) -> None:
        super().__init__(tiny_llama())
        self.rule = rule
        self.known: dict[str, str] = {}

    def edit(self, requests: Sequence[EditRequest]) -> None:
        super().edit(requests)
        for request in requests:
            old = self.known.get(request.subject)
            largest = max(old or "", request.target)
            rule = {"newest": request.target, "oldest": old, "largest": largest}[self.rule]
            self.known[request.subject] = rule or request.target

    def reset(self) -> None:
        super().reset()
        self.known = {}


class Oracle(RunningCell):
    """Answers what the editor remembers, as token ids of one character each."""

    def forced(self, questions: Sequence[Question], **how: Any) -> list[Forced]:
        assert how == {"retrieval_text": "prompt_only"}
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Forced:
        assert isinstance(self.editor, Memo)
        name = next(name for name in NAMES if name in question.prompt)
        given = self.editor.known.get(name, "nothing").ljust(50)
        target = tuple(map(ord, question.target))
        return Forced(target, tuple(map(ord, given))[: len(target)], -1.0)


def measured_with(rule: str) -> tuple[dict[str, Any], Memo]:
    editor = Memo(rule)
    for sample in BLOCK:
        editor.edit([sample.request])
    cell = dataclasses.replace(CELL, n_edits=4, limit=4)
    end = SET.at_end(running(cell, editor, BLOCK, inputs=NO_INPUTS, of=Oracle), 0, BLOCK, None)
    results = SetResults(before=None, blocks=[{"stages": {}, "end": end}])
    return SET.summary(cell, [], results), editor


@pytest.mark.parametrize(
    ("rule", "stream", "reverse"), [("newest", "newest", 1.0), ("oldest", "older", 0.0)]
)
def test_a_rule_shows_in_the_shares(rule: str, stream: str, reverse: float) -> None:
    summary, editor = measured_with(rule)
    own = [f"edit {name}" for name in NAMES]  # appended, and then alone in both orders
    assert editor.log == [*own, *own, "reset", *own, *own, "reset", *own, *own]
    assert summary["pairs"] == 4
    assert summary["likeness"] == {"template": 4}
    for question in ("request", "rephrase"):
        wanted = {"newest": 0.0, "older": 0.0, "neither": 0.0, stream: 1.0}
        assert summary["stream"][question] == wanted
        assert summary["forward"][question] == wanted
        assert summary["reverse"][question]["newest"] == reverse
    assert summary["gap"] == 0.0


def test_an_editor_that_holds_on_to_a_target_wins_in_one_order_only() -> None:
    summary, _ = measured_with("largest")
    forward, reverse = (summary[name]["request"]["newest"] for name in ("forward", "reverse"))
    assert forward + reverse == 1.0
    assert summary["gap"] == forward - reverse
    assert 0 < forward < 1 or abs(summary["gap"]) == 1


def test_a_target_is_another_samples_of_the_same_relation() -> None:
    other = sample("Ed", "Port Ed", "What does {} eat?")
    drawn = pairs(BLOCK, (*BLOCK, other), [0, 0])
    assert [pair.sample.id for pair in drawn] == [sample.id for sample in BLOCK]
    for pair in drawn:
        assert pair.likeness == "template"
        assert pair.later.prompt == pair.sample.request.prompt
        assert pair.taken_from in {sample.id for sample in BLOCK} - {pair.sample.id}
        taken = next(sample for sample in BLOCK if sample.id == pair.taken_from)
        assert pair.later.target == taken.request.target != pair.sample.request.target
    assert pairs(BLOCK, BLOCK, [0, 0]) == pairs(BLOCK, BLOCK, [0, 0])
    asked = [item.prompt for item in drawn[0].questions]  # for the target of the edit itself
    assert asked == ["Where does Ada live?", "Ada lives in"]
    targets = {tuple(p.later.target for p in pairs(BLOCK, BLOCK, [seed])) for seed in range(9)}
    assert len(targets) > 1


def test_without_the_relation_the_beginning_and_then_anything_counts() -> None:
    alike = sample("Flo", "Port Flo", "Where does good {} live?")
    far = sample("Gus", "Port Gus", "Which town is {}'s?")
    same = sample("Hal", "PORT ada", "Where does {} live?")  # the very target
    (pair,) = pairs(BLOCK[:1], (BLOCK[0], alike, far, same), [0])
    assert (pair.likeness, pair.later.target) == ("beginning", "Port Flo")
    (pair,) = pairs(BLOCK[:1], (BLOCK[0], far, same), [0])
    assert (pair.likeness, pair.later.target) == ("any", "Port Gus")
    assert pairs(BLOCK[:1], (BLOCK[0], same), [0]) == []


def test_the_longer_of_two_hit_targets_counts() -> None:
    short, long = sample("Ada", "Port"), sample("Bo", "Port Ada")
    cell = running(CELL, Memo("newest"), (short, long), inputs=NO_INPUTS, of=Oracle)
    (pair,) = SET.at_end(cell, 0, (short,), None)
    assert pair["later"] == "Port Ada"
    assert pair["stream"] == ["newest", "newest"]
    assert pair["reverse"] == ["newest", "newest"]  # says `Port` and no more


def test_a_template_is_the_prompt_around_its_subject() -> None:
    assert template(BLOCK[0].request) == "where does {} live?"
    missing = dataclasses.replace(BLOCK[0].request, subject="Zed")
    assert template(missing) is None


def test_no_pairs_give_no_shares() -> None:
    summary = SET.summary(CELL, [], SetResults(before=None, blocks=[{"stages": {}, "end": []}]))
    assert summary["gap"] is None
    assert SET.columns(summary)["request newest"] is None

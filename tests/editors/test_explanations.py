"""What an editor says of its retrieval is what steers the model, on every architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.checks.contract.tiny import REQUESTS, SAMPLES, TINY, Subject
from editors import registry
from editors.base import Editor
from editors.parts.fast_paths import fast_paths
from editors.parts.retrieving import SHOWN, Explanation, nearest

EXPLAINING = ("grace", "ike", "lte", "r_rome", "rag", "recipe", "wise")
BY_MEMORY = ("wise",)  # entries hold several edits each
PROMPTS = [request.prompt for request in REQUESTS]
PROMPTS += [probe.prompt for sample in SAMPLES for probe in (*sample.generality, *sample.locality)]


@pytest.fixture(params=[f"{key}-{kind}" for key in EXPLAINING for kind in TINY])
def editor(request: pytest.FixtureRequest, artefacts: Path) -> Editor[Any]:
    key, _, architecture = request.param.rpartition("-")
    return Subject(key=key, architecture=architecture, directory=artefacts).editor()


def explained(editor: Editor[Any], texts: Sequence[str]) -> Sequence[Explanation]:
    explanations = editor.explain(texts)
    assert explanations is not None
    return explanations


def test_the_editors_that_look_something_up_are_those_that_explain(artefacts: Path) -> None:
    keys = []
    for key in registry.available():
        editor = Subject(key=key, architecture="llama", directory=artefacts).editor()
        if editor.explain(["A text"]) is not None:
            keys.append(key)
    assert tuple(keys) == EXPLAINING


def test_nothing_is_retrieved_before_the_first_edit(editor: Editor[Any]) -> None:
    for explanation in explained(editor, PROMPTS):
        assert (explanation.candidates, explanation.used, explanation.fired) == ((), None, False)


def test_what_is_used_is_among_the_candidates_and_was_retrieved(editor: Editor[Any]) -> None:
    editor.edit(REQUESTS[:2])
    for prompt in PROMPTS:
        (explanation,) = explained(editor, [prompt])
        rows = [candidate.row for candidate in explanation.candidates]
        assert rows
        assert explanation.used is None or explanation.used in rows
        known = fast_paths(editor).retrieved([prompt])
        if known is not None:
            before = editor.label == "RECIPE"  # whose rows start after the sentinel's
            assert known[0] == (-1 if explanation.used is None else explanation.used) + before


def test_the_edit_that_a_prompt_uses_is_its_own(editor: Editor[Any]) -> None:
    editor.edit(REQUESTS[:2])
    key = registry.resolve(editor.label)
    used = [explanation.used for explanation in explained(editor, PROMPTS[:2])]
    assert used == ([0, 0] if key in BY_MEMORY else [0, 1])


def test_several_texts_are_explained_as_each_alone(editor: Editor[Any]) -> None:
    editor.edit(REQUESTS[:3])
    together, facts = explained(editor, PROMPTS), attrgetter("used", "limit_is", "measure")
    for explanation, prompt in zip(together, PROMPTS, strict=True):
        (alone,) = explained(editor, [prompt])
        assert facts(explanation) == facts(alone)
        assert [c.row for c in explanation.candidates] == [c.row for c in alone.candidates]
        for left, right in zip(explanation.candidates, alone.candidates, strict=True):
            assert left.score == pytest.approx(right.score, abs=1e-3, rel=1e-3)


def same(first: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return first.keys() == other.keys() and all(torch.equal(first[n], other[n]) for n in first)


def test_explaining_changes_nothing(editor: Editor[Any]) -> None:
    editor.edit(REQUESTS[:2])
    before = editor.state_dict()
    explained(editor, PROMPTS)
    assert same(before, editor.state_dict())


@pytest.mark.parametrize("key", registry.available())
def test_editors_say_whether_the_subject_matters(key: str, artefacts: Path) -> None:
    editor = Subject(key=key, architecture="llama", directory=artefacts).editor()
    states = []
    for subject in (REQUESTS[0].subject, REQUESTS[0].prompt.split()[-1]):
        editor.reset()
        editor.edit([replace(REQUESTS[0], subject=subject)])
        states.append(editor.state_dict())
    assert same(*states) == (not editor.uses_subject)


def test_the_nearest_are_the_best_and_the_oldest_of_equals() -> None:
    scores = torch.tensor([0.5, 0.9, 0.5, 0.1, 0.2, 0.3, 0.4])
    texts = [f"t{i}" for i in range(len(scores))]
    candidates = nearest(scores, texts)
    assert [candidate.row for candidate in candidates] == [1, 0, 2, 6, 5]
    assert len(candidates) == SHOWN
    assert [candidate.row for candidate in nearest(scores, texts, largest=False)] == [3, 4, 5, 6, 0]
    assert [candidate.row for candidate in nearest(scores, texts, also=3)] == [1, 0, 2, 6, 5, 3]

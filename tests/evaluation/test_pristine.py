"""Answers of unedited models are asked once, and never taken for others'."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.checks.contract.tiny import tiny_llama
from bench.core.numerics import fixed_arithmetic
from bench.evaluation import caches
from bench.evaluation.caches import PristineAnswers, pristine_answers
from bench.evaluation.probing import Item, ItemAnswers
from editors.parts.language_model import LanguageModel

STRANGE = ("a\u2028b", "c\x85d", "e\u2029f", "g\ud800", "h\ni")
ITEMS = [
    Item(aspect="locality", kind="neighbour", prompt=f"The sky number {i} is", target="blue")
    for i in range(4)
]


class Asked:
    """Answers with the length of the prompt, and remembers what it was asked."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def __call__(self, items: Sequence[Item]) -> list[ItemAnswers]:
        self.prompts += [item.prompt for item in items]
        return [
            ItemAnswers(
                (len(item.prompt),),
                {"teacher_forced": {"ids": [1, 2], "text": "über"}},
                -0.1 - len(item.prompt) / 3,
            )
            for item in items
        ]


def test_each_question_is_asked_once(tmp_path: Path) -> None:
    ask, known = Asked(), PristineAnswers(tmp_path)
    first = known.of([*ITEMS[:2], ITEMS[0]], ask)
    assert ask.prompts == [item.prompt for item in ITEMS[:2]]
    assert first[0] == first[2]
    known.of(ITEMS, ask)
    assert ask.prompts == [item.prompt for item in ITEMS]


def test_another_process_finds_the_same_answers(tmp_path: Path) -> None:
    found = PristineAnswers(tmp_path).of(ITEMS, Asked())
    again = Asked()
    assert PristineAnswers(tmp_path).of(ITEMS, again) == found
    assert again.prompts == []


def test_what_another_process_adds_meanwhile_is_found(tmp_path: Path) -> None:
    ask, known = Asked(), PristineAnswers(tmp_path)
    known.of(ITEMS[:1], ask)
    PristineAnswers(tmp_path).of(ITEMS, Asked())
    known.of(ITEMS, ask)
    assert len(ask.prompts) == 1


@pytest.mark.parametrize("content", ["", "{", '{"prompt": 1}\n', "[]\n", "null\n"])
def test_a_broken_file_costs_time_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / "0.jsonl").write_text(content)
    ask = Asked()
    assert len(PristineAnswers(tmp_path).of(ITEMS, ask)) == len(ITEMS)
    assert len(ask.prompts) == len(ITEMS)


def test_a_changed_answer_is_asked_again(tmp_path: Path) -> None:
    found = PristineAnswers(tmp_path).of(ITEMS, Asked())
    (path,) = tmp_path.iterdir()
    content = path.read_text()
    path.write_text(content.replace("-6.", "-5."))
    assert path.read_text() != content
    ask = Asked()
    assert PristineAnswers(tmp_path).of(ITEMS, ask) == found
    assert len(ask.prompts) == len(ITEMS)
    assert path.read_text() == content


def test_a_directory_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = PristineAnswers(tmp_path / "file" / "folder").of(ITEMS, Asked())
    assert len(found) == len(ITEMS)


def test_answers_with_every_kind_of_line_end_are_read_again(tmp_path: Path) -> None:
    strange = [Item(aspect="reliability", kind="request", prompt=p, target="t") for p in STRANGE]
    PristineAnswers(tmp_path).of(strange, Asked())
    ask = Asked()
    PristineAnswers(tmp_path).of(strange, ask)
    assert ask.prompts == []


def with_digest(lm: LanguageModel, digest: str) -> LanguageModel:
    return LanguageModel(lm.model, lm.tokenizer, name=lm.name, digest=digest)


def test_other_weights_templates_types_and_code_have_other_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = tiny_llama()
    assert pristine_answers(lm, "{}") is None
    places = set()

    def place(model: LanguageModel, template: str | None) -> None:
        found = pristine_answers(model, template)
        assert found is not None
        places.add(found.directory)

    one = with_digest(lm, "a")
    place(one, "{}")
    place(one, "{}")
    assert len(places) == 1
    place(one, None)
    place(with_digest(lm, "b"), "{}")
    lm.model.double()
    place(one, "{}")
    monkeypatch.setattr("bench.evaluation.caches.CODE", "other")
    caches._opened.cache_clear()
    place(one, "{}")
    assert len(places) == 5
    with fixed_arithmetic(wanted=True):
        caches._opened.cache_clear()
        place(one, "{}")
    assert len(places) == 6
    caches._opened.cache_clear()
    assert dataclasses.is_dataclass(found := pristine_answers(one, "{}"))
    assert found is pristine_answers(one, "{}")

"""What is computed once is never taken for something else, and counts its seconds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, tiny_llama
from bench.core.numerics import fixed_arithmetic
from bench.evaluation import caches
from bench.evaluation.caches import (
    CODE,
    ROOMS,
    CachedEdits,
    PristineAnswers,
    cached_edits,
    digest_of_rooms,
    pristine_answers,
)
from bench.evaluation.probing import Item, ItemAnswers
from editors.base import EditRequest
from editors.parts.language_model import LanguageModel
from editors.r_rome import RRomeHparams
from editors.registry import hparams_for

LINE_ENDS = ("a\u2028b", "c\x85d", "e\u2029f", "g\ud800", "h\ni")
TENSORS = {"left": torch.tensor([1.0, 1e-30]), "right": torch.tensor([2.0])}
INPUTS = {"corpus": "c", "templates": "t", "encoder": "e", "artefact": "a"}


ITEMS = [
    Item(aspect="locality", kind="neighbour", prompt=prompt, target="blue")
    for prompt in (*(f"The sky number {i} is" for i in range(4)), *LINE_ENDS)
]


def with_digest(lm: LanguageModel, digest: str) -> LanguageModel:
    return LanguageModel(lm.model, lm.tokenizer, name=lm.name, digest=digest)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in (("a/one.py", "1"), ("a/inner/two.py", "2"), ("b/three.py", "3")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_a_renamed_moved_added_or_changed_file_is_another_key(root: Path) -> None:
    seen = {digest_of_rooms(("a", "b"), root)}
    steps = (
        lambda: (root / "a/one.py").rename(root / "a/uno.py"),
        lambda: (root / "a/inner/two.py").rename(root / "a/two.py"),
        lambda: (root / "b/four.py").write_text("", encoding="utf-8"),
        lambda: (root / "b/four.py").write_text("4", encoding="utf-8"),
        (root / "a/two.py").unlink,
    )
    for step in steps:
        step()
        seen.add(digest_of_rooms(("a", "b"), root))
    assert len(seen) == 1 + len(steps)
    (root / "a/readme.md").write_text("text", encoding="utf-8")
    assert digest_of_rooms(("a", "b"), root) in seen
    (root / "c").mkdir()
    with pytest.raises(ValueError, match="No Python file"):
        digest_of_rooms(("a", "c"), root)


def test_the_key_covers_the_code_that_computes_results() -> None:
    assert digest_of_rooms(ROOMS) == CODE
    assert {"editors", "bench/evaluation", "bench/models"} <= set(ROOMS)


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
    ask, cached = Asked(), PristineAnswers(tmp_path)
    first = cached.of([*ITEMS[:2], ITEMS[0]], ask)
    assert ask.prompts == [item.prompt for item in ITEMS[:2]]
    assert first[0] == first[2]
    meanwhile = Asked()  # in another process
    answers = PristineAnswers(tmp_path).of(ITEMS, meanwhile)
    assert meanwhile.prompts == [item.prompt for item in ITEMS[2:]]
    assert cached.of(ITEMS, ask) == answers
    assert len(ask.prompts) == 2


@pytest.mark.parametrize("content", ["", "{", '{"prompt": 1}\n', "[]\n", "null\n"])
def test_a_broken_file_costs_time_alone(tmp_path: Path, content: str) -> None:
    (tmp_path / caches._name(content.encode())).write_text(content)
    ask = Asked()
    assert len(PristineAnswers(tmp_path).of(ITEMS, ask)) == len(ITEMS)
    assert len(ask.prompts) == len(ITEMS)
    (tmp_path / "file").touch()  # nothing can be written below it
    unwritable = PristineAnswers(tmp_path / "file" / "folder")
    assert len(unwritable.of(ITEMS, Asked())) == len(ITEMS)


def test_a_changed_answer_is_asked_again(tmp_path: Path) -> None:
    answers = PristineAnswers(tmp_path).of(ITEMS, Asked())
    (path,) = tmp_path.iterdir()
    content = path.read_text()
    path.write_text(content.replace("-6.", "-5."))
    assert path.read_text() != content
    ask = Asked()
    assert PristineAnswers(tmp_path).of(ITEMS, ask) == answers
    assert len(ask.prompts) == len(ITEMS)
    assert path.read_text() == content


def test_other_weights_templates_types_and_code_have_other_folders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = tiny_llama()
    assert pristine_answers(lm, "{}") is None  # without a digest
    folders = set()

    def add(model: LanguageModel, template: str | None) -> None:
        caches._opened.cache_clear()
        cached = pristine_answers(model, template)
        assert cached is not None
        assert cached is pristine_answers(model, template)
        folders.add(cached.directory)

    model = with_digest(lm, "a")
    add(model, "{}")
    add(model, "{}")
    assert len(folders) == 1
    add(model, None)
    add(with_digest(lm, "b"), "{}")
    lm.model.double()
    add(model, "{}")
    monkeypatch.setattr("bench.evaluation.caches.CODE", "other")
    add(model, "{}")
    assert len(folders) == 5
    with fixed_arithmetic(wanted=True):
        add(model, "{}")
    assert len(folders) == 6


def test_cached_edits_are_the_same_to_the_bit(tmp_path: Path) -> None:
    cached = CachedEdits(tmp_path)
    assert cached.get(REQUESTS[0]) is None
    cached.put(REQUESTS[0], TENSORS)
    tensors = CachedEdits(tmp_path).get(REQUESTS[0])
    assert tensors is not None
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for broken in (content[:-4], content[:-1] + bytes([content[-1] ^ 1])):
        file.write_bytes(broken)
        assert cached.get(REQUESTS[0]) is None


def test_a_cached_edit_counts_the_seconds_that_computing_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([10.0, 12.5])
    monkeypatch.setattr("bench.evaluation.caches.time.perf_counter", lambda: next(ticks))
    cached = CachedEdits(tmp_path)
    cached.get(REQUESTS[0])
    cached.put(REQUESTS[0], TENSORS)
    assert cached.take_saved() == 0.0
    cached.get(REQUESTS[0])
    assert cached.take_saved() == 2.5
    assert cached.take_saved() == 0.0


def folder(lm: LanguageModel, hparams: RRomeHparams, inputs: dict[str, str]) -> Path:
    cached = cached_edits(lm, "r_rome", hparams, inputs)
    assert cached is not None
    return cached.directory


def test_edits_that_depend_on_other_things_have_other_folders(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bare = tiny_llama()
    lm, other = (with_digest(bare, digest) for digest in "ab")
    hparams = hparams_for("r_rome", "tiny")
    assert isinstance(hparams, RRomeHparams)
    first = folder(lm, hparams, INPUTS)
    assert folder(lm, hparams, {**INPUTS, "artefact": "b", "encoder": "b"}) == first
    assert folder(lm, dataclasses.replace(hparams, gate="published"), INPUTS) == first
    folders = {
        first,
        folder(other, hparams, INPUTS),
        folder(lm, dataclasses.replace(hparams, v_lr=0.25), INPUTS),
        folder(lm, hparams, {**INPUTS, "corpus": "d"}),
    }
    monkeypatch.setattr("bench.evaluation.caches.CODE", "other")
    assert len({*folders, folder(lm, hparams, INPUTS)}) == 5
    assert cached_edits(lm, "rome", hparams_for("rome", "default"), INPUTS) is None
    assert cached_edits(bare, "r_rome", hparams, INPUTS) is None


def test_requests_differ_in_every_field(tmp_path: Path) -> None:
    cached, request = CachedEdits(tmp_path), EditRequest(prompt="a", target="b", subject="c")
    paths = {cached._path(dataclasses.replace(request, **{f: "z"})) for f in vars(request)}
    assert len({cached._path(request), *paths}) == 4

"""The corpus: what it may never say, where context stands, and that batches are reproducible."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from bench.world.corpus import (
    KINDS,
    SEPARATOR,
    Corpus,
    plain_text,
    tokenizer_texts,
    two_hop,
)
from bench.world.training.build import gpt_tokenizer, llama_tokenizer, roberta_tokenizer
from bench.world.world import Fact, World


@pytest.fixture(scope="module")
def world() -> World:
    return World(3)


def test_shares_are_those_declared() -> None:
    for phase in range(4):
        assert sum(shares[phase] for shares in KINDS.values()) == pytest.approx(1.0)


def test_two_hop_wording() -> None:
    first, second = Fact("Ann", "birthplace", "Rome"), Fact("Rome", "country", "Italy")
    assert two_hop(first, second) == "The country of the birthplace of Ann is"


def test_unseen_entities_and_held_out_phrasings_never_occur(world: World) -> None:
    texts = [*map(plain_text, Corpus(world).documents(np.random.default_rng(0), 6000, 1.0))]
    held = {f"{world.held_phrasing[f].format(s=f.subject)} {f.object}." for f in world.core}
    assert held.isdisjoint(texts)
    text = "\n".join(texts)
    for split in world.unseen.values():
        for names in split.entities.values():
            assert not [n for n in names[:300] if f" {n} " in text or f" {n}." in text]


def test_context_stands_before_the_separator_in_half_of_the_documents(world: World) -> None:
    corpus, rng = Corpus(world), np.random.default_rng(1)
    documents = corpus.mixture(rng, 400, {"context": 1.0})
    after = sum(document[0] == SEPARATOR for document in documents)
    assert 140 < after < 260


def test_openings_start_with_a_core_subject(world: World) -> None:
    subjects = {f.subject for f in world.core}
    for document in Corpus(world).mixture(np.random.default_rng(1), 50, {"opening": 1.0}):
        text = plain_text(document).removeprefix("A ")  # things have an article
        assert any(text.startswith(f"{subject} ") for subject in subjects)


def test_paraphrases_share_a_fact_and_come_in_twos_about_one_subject(world: World) -> None:
    pairs = list(Corpus(world).paraphrases(np.random.default_rng(2), 40))
    assert len(pairs) == 40
    shared = 0
    for (first, _), (second, _) in zip(pairs[::2], pairs[1::2], strict=True):
        assert first != second
        names = {word.strip("?.") for word in first.split() if word[0].isupper()}
        shared += bool(names & {word.strip("?.") for word in second.split()})
    assert shared >= 15  # of 20; the rest are things, whose names are in lower case
    for statement, question in pairs:
        assert not statement.startswith(question)


@pytest.mark.parametrize(
    ("make", "starts"),
    [(llama_tokenizer, [1]), (gpt_tokenizer, []), (roberta_tokenizer, None)],
)
def test_tokenizers_take_any_text_and_join_at_spaces(
    world: World,
    make: Callable[[Iterable[str]], PreTrainedTokenizerFast],
    starts: list[int] | None,
) -> None:
    tokens = make(tokenizer_texts(world, 300))
    assert len(tokens) == 3072
    text = "Zoë Ångström owes 12 € to 日本 🙂"
    plain = tokens(text, add_special_tokens=False)["input_ids"]
    assert tokens.decode(plain) == text
    if starts is not None:  # RoBERTa has an end too
        assert tokens(text)["input_ids"] == [*starts, *plain]
    name = world.entities["city"][0]
    prompt = tokens("Ann was born in", add_special_tokens=False)["input_ids"]
    target = tokens(f" {name}", add_special_tokens=False)["input_ids"]
    joined = tokens(f"Ann was born in {name}", add_special_tokens=False)["input_ids"]
    assert prompt + target == joined


def test_names_have_few_tokens_and_many_targets_several(world: World) -> None:
    tokens = llama_tokenizer(tokenizer_texts(world))

    def count(name: str) -> int:
        return len(tokens(f" {name}", add_special_tokens=False)["input_ids"])

    people = [count(n) for n in world.unseen["test"].entities["person"]]
    assert np.mean([n <= 4 for n in people]) > 0.95
    targets = [count(f.object) for f in world.unseen["test"].facts]
    assert np.mean([n > 1 for n in targets]) > 1 / 3

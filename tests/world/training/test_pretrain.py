"""Training rows, separated as the tokenizer's family separates texts, and their checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedTokenizerFast

from bench.world.corpus import SEPARATOR, Corpus, Document, Span, tokenizer_texts
from bench.world.training import pretrain
from bench.world.training.build import gpt_tokenizer, llama_tokenizer
from bench.world.training.pretrain import CHUNK, CausalRows, Training
from bench.world.world import World

TRAINING = Training(steps=100, rows=2, width=32)
AFTER: Document = [SEPARATOR, Span("a b", 0.2), Span(" c", 1.0)]
BEFORE: Document = [Span("a b", 0.2), SEPARATOR, Span("c", 1.0)]


@pytest.fixture(scope="module")
def world() -> World:
    return World(3)


@pytest.fixture(scope="module")
def gpt(world: World) -> PreTrainedTokenizerFast:
    return gpt_tokenizer(tokenizer_texts(world, 300))


def test_batches_are_a_function_of_seed_and_step(
    world: World, gpt: PreTrainedTokenizerFast
) -> None:
    first, again, other = (
        CausalRows(Corpus(world), gpt, TRAINING).chunk(number) for number in (1, 1, 0)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def rows_of(
    world: World,
    tokens: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
    document: Document,
) -> tuple[str, list[float]]:
    """The first row of a corpus of a single document, in words, and the weights of its tokens."""
    monkeypatch.setattr(Corpus, "documents", lambda *_: [document] * 50)
    ids, weights, *_ = CausalRows(Corpus(world), tokens, TRAINING).chunk(0)
    return str(tokens.decode(ids[0])), [round(float(w), 1) for w in weights[0]]


def test_documents_are_joined_by_one_end_of_text_which_is_predicted(
    world: World, gpt: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    llama = llama_tokenizer(tokenizer_texts(world, 300))  # whose documents start with a BOS
    assert rows_of(world, llama, monkeypatch, AFTER)[0].startswith("<s>a b c</s><s>a b c</s>")
    assert rows_of(world, llama, monkeypatch, BEFORE)[0].startswith("a b<s>c</s>a b<s>c</s>")
    text, weights = rows_of(world, gpt, monkeypatch, BEFORE)
    assert text.startswith("a b<|endoftext|>c<|endoftext|>a b<|endoftext|>c")
    assert weights[len(gpt("a b")["input_ids"])] == 0.0  # the context does not foretell a query
    text, weights = rows_of(world, gpt, monkeypatch, AFTER)
    assert text.startswith("a b c<|endoftext|>a b c<|endoftext|>a")
    end = gpt(" c<|endoftext|>")["input_ids"]
    assert weights[len(gpt("a b")["input_ids"]) :][: len(end)] == [1.0] * len(end)


def test_rows_of_learned_positions_reach_the_whole_table_and_mostly_start_at_0(
    world: World, gpt: PreTrainedTokenizerFast
) -> None:
    rows = CausalRows(Corpus(world), gpt, TRAINING, learned_positions=36)
    plain = CausalRows(Corpus(world), gpt, TRAINING)
    ids, _, starts = rows.chunk(0)
    assert starts.shape == (CHUNK * TRAINING.rows, 1)
    assert set(starts.flatten().tolist()) == set(range(36 - TRAINING.width + 1))
    assert 0.6 < float((starts == 0).float().mean()) < 0.95
    assert torch.equal(ids, plain.chunk(0)[0])  # the text is what the others read


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    model, path = nn.Linear(2, 2), tmp_path / "checkpoint.safetensors"
    optimizer = pretrain._optimizer(model, TRAINING)
    pretrain._save(model, optimizer, path, 1, 2.5, TRAINING)
    assert pretrain._resume(model, optimizer, path, TRAINING) == (1, 2.5)
    other = Training(steps=101, rows=2, width=32)
    with pytest.raises(ValueError, match="other settings"):
        pretrain._resume(model, optimizer, path, other)

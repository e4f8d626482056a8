"""The sentence encoder: what it pools, and what it must not depend on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from editors.parts.encoder import SentenceEncoder, TextBatcher, read_config
from tests.support.tiny_encoder import HIDDEN, MAX_LENGTH, encoder_tokenizer, write_encoder

TEXTS = ["short", "a rather longer sentence", "x"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "encoder")


@pytest.fixture
def batcher(directory: Path) -> TextBatcher:
    return TextBatcher.from_directory(directory, MAX_LENGTH)


def load(directory: Path, pool: str = "code4") -> SentenceEncoder:
    return SentenceEncoder.from_directory(directory, pool=pool).eval()  # type: ignore[arg-type]


@torch.no_grad()
def test_pooling_is_pooler_mean_maximum_and_minimum_of_each_rows_own_tokens(
    directory: Path, batcher: TextBatcher
) -> None:
    encoder = load(directory)
    rows = batcher.ids(TEXTS)
    ids, mask = batcher.pad(rows, torch.device("cpu"))
    pooled = encoder(ids, mask)
    output = encoder.roberta(input_ids=ids, attention_mask=mask)
    for number, row in enumerate(rows):
        states = output.last_hidden_state[number, : len(row)]
        by_hand = torch.cat(
            [output.pooler_output[number], states.mean(0), states.amax(0), states.amin(0)]
        )
        torch.testing.assert_close(pooled[number], by_hand)


@torch.no_grad()
def test_paper_pooling_is_the_released_one_without_the_pooler(
    directory: Path, batcher: TextBatcher
) -> None:
    ids, mask = batcher.pad(batcher.ids(TEXTS), torch.device("cpu"))
    encoder = load(directory, "paper3")
    assert encoder.roberta.pooler is None
    assert encoder.pooled_size == 3 * HIDDEN
    torch.testing.assert_close(encoder(ids, mask), load(directory)(ids, mask)[:, HIDDEN:])


@torch.no_grad()
def test_a_row_does_not_depend_on_its_batch(directory: Path, batcher: TextBatcher) -> None:
    encoder = load(directory)
    together = encoder(*batcher.pad(batcher.ids(TEXTS), torch.device("cpu")))
    for number, text in enumerate(TEXTS):
        alone = encoder(*batcher.pad(batcher.ids([text]), torch.device("cpu")))
        torch.testing.assert_close(alone[0], together[number], atol=1e-5, rtol=0)


@torch.no_grad()
def test_hidden_states_skip_the_embedding_module(directory: Path) -> None:
    encoder = load(directory)
    tokens = encoder.roberta.embeddings.word_embeddings.weight[5:8][None]
    skipped, embedded = encoder.forward_hidden(tokens), encoder.forward_embedded(tokens)
    assert not torch.allclose(skipped, embedded)
    by_ids = encoder(torch.tensor([[5, 6, 7]]), torch.ones(1, 3, dtype=torch.long))
    torch.testing.assert_close(embedded, by_ids)


def test_a_missing_pooler_is_drawn_from_the_seed_and_leaves_the_global_generator(
    tmp_path: Path,
) -> None:
    directory = write_encoder(tmp_path / "bare", pooler=False)
    before = torch.get_rng_state()
    drawn = [
        SentenceEncoder.from_directory(directory, seed=seed).state_dict() for seed in (3, 3, 4)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    name = "roberta.pooler.dense.weight"
    assert torch.equal(drawn[0][name], drawn[1][name])
    assert not torch.equal(drawn[0][name], drawn[2][name])
    assert drawn[0]["roberta.pooler.dense.bias"].abs().max() == 0
    name = "roberta.embeddings.word_embeddings.weight"
    assert torch.equal(drawn[0][name], drawn[2][name])


def test_long_texts_are_cut_to_what_the_encoder_can_read(directory: Path) -> None:
    encoder = load(directory)
    assert encoder.max_length == MAX_LENGTH
    batcher = TextBatcher(encoder_tokenizer(), encoder.max_length)
    ids, mask = batcher.pad(batcher.ids(["y" * 500]), torch.device("cpu"))
    assert ids.shape == (1, MAX_LENGTH)
    assert encoder(ids, mask).isfinite().all()


def test_directories_that_hold_no_encoder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match=r"model_type 'bert'; wanted 'roberta'"):
        read_config(tmp_path)


def test_an_unknown_pooling_is_refused(directory: Path) -> None:
    with pytest.raises(ValueError, match="Unknown pooling 'code5'"):
        load(directory, "code5")

"""Sentence vectors of several kinds of encoder directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaModel

from editors.parts.text_vectors import TextVectors, vectors_digest
from tests.support.tiny_encoder import HIDDEN, MAX_LENGTH, encoder_tokenizer, write_encoder

CPU = torch.device("cpu")
TEXTS = ["The sky", "A much longer sentence about the sea", "x"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "encoder")


def test_unit_vectors_are_means_over_each_texts_own_tokens(directory: Path) -> None:
    vectors = TextVectors.from_directory(directory, CPU)
    ours = vectors(TEXTS)
    assert ours.shape == (3, vectors.width) == (3, HIDDEN)
    model = RobertaModel.from_pretrained(directory).eval()
    tokenizer = encoder_tokenizer()
    with torch.no_grad():
        for text, vector in zip(TEXTS, ours, strict=True):
            states = model(torch.tensor([tokenizer(text)["input_ids"]])).last_hidden_state[0]
            wanted = functional.normalize(states.mean(0), dim=0)
            torch.testing.assert_close(vector, wanted, atol=1e-5, rtol=0)


def test_a_text_that_is_too_long_is_cut(directory: Path) -> None:
    vectors = TextVectors.from_directory(directory, CPU)
    kept = "x" * (MAX_LENGTH - 2)
    assert torch.equal(vectors([kept + "yyyyy"]), vectors([kept]))


def test_a_sentence_transformers_directory_says_how_it_pools(directory: Path) -> None:
    plain = TextVectors.from_directory(directory, CPU)(TEXTS)
    pooling = directory / "1_Pooling" / "config.json"
    pooling.parent.mkdir()

    def pooled_by(**modes: bool) -> torch.Tensor:
        pooling.write_text(json.dumps({"word_embedding_dimension": HIDDEN, **modes}))
        return TextVectors.from_directory(directory, CPU)(TEXTS)

    assert torch.equal(pooled_by(pooling_mode_mean_tokens=True), plain)
    first = pooled_by(pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    assert not torch.allclose(first, plain, atol=1e-3)
    with pytest.raises(ValueError, match="pools tokens by pooling_mode_max_tokens"):
        pooled_by(pooling_mode_max_tokens=True)


def test_a_bert_directory_without_a_pooler_loads_and_leaves_global_draws(tmp_path: Path) -> None:
    vocabulary = {piece: i for i, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a"])}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=5,
        hidden_size=HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=12,
    )
    with torch.random.fork_rng():
        BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    before = torch.get_rng_state()
    ours = TextVectors.from_directory(tmp_path, CPU)(["a a", "a " * 40])
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(ours.norm(dim=-1), torch.ones(2))


def test_a_directory_that_lacks_a_file_is_refused(directory: Path) -> None:
    digest = vectors_digest(directory)
    assert len(digest) == 64
    (directory / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"No sentence encoder at .*model\.safetensors"):
        TextVectors.from_directory(directory, CPU)

"""The sentence encoder: what it pools, and what it must not depend on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaModel

from bench.checks.contract.tiny import HIDDEN, MAX_LENGTH, encoder_tokenizer, write_encoder
from bench.models.resources import encoder_directory
from editors.parts.encoder import (
    SentenceEncoder,
    TextBatcher,
    TextVectors,
    encoder_digest,
    read_config,
)
from editors.parts.language_model import check_report

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


DENSE = "encoder.layer.1.output.dense.weight"
Loader = Callable[[Path], object]
LOADERS: list[Loader] = [
    SentenceEncoder.from_directory,
    lambda directory: TextVectors.from_directory(directory, torch.device("cpu")),
]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("instead", "sentence"),
    [
        ({}, rf"lack tensors of the model: {DENSE}\.$"),
        ({DENSE: torch.zeros(3, 4)}, rf"have {DENSE} in the shape \(3, 4\), but its config"),
    ],
)
def test_a_missing_tensor_or_shape_is_named(
    instead: dict[str, torch.Tensor], sentence: str, loader: Loader, directory: Path
) -> None:
    tensors = load_file(directory / "model.safetensors")
    del tensors[DENSE]
    save_file(tensors | instead, directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=sentence):
        loader(directory)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_pooler_may_be_missing(loader: Loader, tmp_path: Path) -> None:
    loader(write_encoder(tmp_path, pooler=False))


def test_only_the_first_missing_ones_are_named() -> None:
    report = {"missing_keys": {f"w{number}" for number in range(9)}, "mismatched_keys": set()}
    with pytest.raises(ValueError, match=r": w0, w1, w2\.$"):
        check_report(report, Path("x"))


def test_pickled_encoders_and_remote_code_are_refused(tmp_path: Path) -> None:
    directory = write_encoder(tmp_path)
    assert encoder_directory(str(directory)) == directory
    (directory / "generation_config.json").write_text('{"auto_map": {"AutoModel": "x.Y"}}')
    with pytest.raises(ValueError, match=r"asks for remote code \(auto_map\)"):
        encoder_directory(str(directory))
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(ValueError, match="python -m bench import-weights"):
        encoder_directory(str(directory))


CPU = torch.device("cpu")


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
    stored = "x" * (MAX_LENGTH - 2)
    assert torch.equal(vectors([stored + "yyyyy"]), vectors([stored]))


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
    digest = encoder_digest(directory)
    assert len(digest) == 64
    (directory / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"No sentence encoder at .*model\.safetensors"):
        TextVectors.from_directory(directory, CPU)


def test_steps_after_the_transformer_are_known_or_refused(directory: Path) -> None:
    steps = [{"type": f"sentence_transformers.models.{n}"} for n in ("Transformer", "Pooling")]
    (directory / "modules.json").write_text(json.dumps(steps))
    known = encoder_digest(directory)
    TextVectors.from_directory(directory, CPU)
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_cls_token": True})
    )
    assert encoder_digest(directory) != known
    steps.append({"type": "sentence_transformers.models.Dense"})
    (directory / "modules.json").write_text(json.dumps(steps))
    with pytest.raises(ValueError, match=r"modules.json names the step Dense; wanted Transformer"):
        TextVectors.from_directory(directory, CPU)

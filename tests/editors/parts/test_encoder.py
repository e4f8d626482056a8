"""The sentence encoder: what it pools, and what it must not depend on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    DistilBertConfig,
    MPNetConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

from bench.checks.contract.tiny import HIDDEN, MAX_LENGTH, encoder_tokenizer, write_encoder
from bench.models import catalogue
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
    assert encoder.transformer.pooler is None
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
    tokens = encoder.transformer.embeddings.word_embeddings.weight[5:8][None]
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
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "t5"}))
    with pytest.raises(ValueError, match=r"'t5'; wanted one of bert, roberta, mpnet, distilbert"):
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


CONFIGS: dict[str, Any] = {
    "bert": lambda **sizes: BertConfig(intermediate_size=8, num_hidden_layers=2, **sizes),
    "roberta": lambda **sizes: RobertaConfig(intermediate_size=8, num_hidden_layers=2, **sizes),
    "mpnet": lambda **sizes: MPNetConfig(intermediate_size=8, num_hidden_layers=2, **sizes),
    "distilbert": lambda **sizes: DistilBertConfig(hidden_dim=8, n_layers=2, **sizes),
}
READ = 12  # tokens, by each of them


def write_kind(kind: str, directory: Path) -> Path:
    """A random encoder of a kind, with a tokenizer of few words."""
    shifted = kind in ("roberta", "mpnet")
    padding = 1 if shifted else 0
    words = ["[CLS]", "[PAD]"] if shifted else ["[PAD]", "[CLS]"]
    vocabulary = {word: i for i, word in enumerate([*words, "[SEP]", "[UNK]", "a", "b", "c"])}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")],
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]")
    fast.save_pretrained(directory)
    sizes: dict[str, Any] = {
        "vocab_size": len(vocabulary), "hidden_size": HIDDEN, "num_attention_heads": 2,
        "max_position_embeddings": READ + (padding + 1) * shifted, "pad_token_id": padding,
    }  # fmt: skip
    if kind == "distilbert":
        sizes["dim"], sizes["n_heads"] = sizes.pop("hidden_size"), sizes.pop("num_attention_heads")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        AutoModel.from_config(CONFIGS[kind](**sizes)).save_pretrained(directory)
    return directory


def as_sentence_transformers(directory: Path, texts: list[str], first: bool) -> torch.Tensor:
    """What that library defines: the mean over the attention mask or the first token; unit length.

    Written down anew from its documentation, text by text.
    """
    model, tokenizer = (
        AutoModel.from_pretrained(directory),
        AutoTokenizer.from_pretrained(directory),
    )
    vectors = []
    for text in texts:
        length = json.loads((directory / "sentence_bert_config.json").read_text())["max_seq_length"]
        encoded = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
        ids, mask = encoded["input_ids"], encoded["attention_mask"]
        with torch.no_grad():
            states = model.eval()(input_ids=ids, attention_mask=mask).last_hidden_state[0]
        weights = mask[0][:, None].float()
        pooled = states[0] if first else (states * weights).sum(0) / weights.sum(0)
        vectors.append(pooled / pooled.norm())
    return torch.stack(vectors)


SENTENCES = ["a b", "c", "b b a c a", "a " * 40]


@pytest.mark.parametrize("first", [False, True], ids=["mean", "cls"])
@pytest.mark.parametrize("length", [READ, 7])
@pytest.mark.parametrize("kind", CONFIGS)
def test_every_kind_is_read_as_sentence_transformers_reads_it(
    kind: str, length: int, first: bool, tmp_path: Path
) -> None:
    directory = write_kind(kind, tmp_path)
    steps = ("Transformer", "Pooling", "Normalize")
    (directory / "modules.json").write_text(
        json.dumps([{"type": f"sentence_transformers.models.{step}"} for step in steps])
    )
    plain = encoder_digest(directory)
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_cls_token": first, "pooling_mode_mean_tokens": not first})
    )
    (directory / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": length}))
    before = torch.get_rng_state()
    ours = TextVectors.from_directory(directory, CPU)(SENTENCES)
    assert torch.equal(torch.get_rng_state(), before)
    wanted = as_sentence_transformers(directory, SENTENCES, first)
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=0)
    assert encoder_digest(directory) != plain


@torch.no_grad()
@pytest.mark.parametrize("kind", CONFIGS)
def test_every_kind_carries_the_pooling_of_recipe(kind: str, tmp_path: Path) -> None:
    directory = write_kind(kind, tmp_path)
    encoder, model = load(directory, "paper3"), AutoModel.from_pretrained(directory).eval()
    assert encoder.max_length == READ
    batcher = TextBatcher.from_directory(directory, READ)
    ids, mask = batcher.pad(batcher.ids(SENTENCES), CPU)
    for row, text in zip(encoder(ids, mask), SENTENCES, strict=True):
        states = model(torch.tensor(batcher.ids([text]))).last_hidden_state[0]
        wanted = torch.cat([states.mean(0), states.amax(0), states.amin(0)])
        torch.testing.assert_close(row, wanted, atol=1e-5, rtol=0)
    words = model.get_input_embeddings().weight[4:7][None]
    embedded, skipped = encoder.forward_embedded(words), encoder.forward_hidden(words)
    by_ids = encoder(torch.tensor([[4, 5, 6]]), torch.ones(1, 3, dtype=torch.long))
    torch.testing.assert_close(embedded, by_ids, atol=1e-5, rtol=0)
    assert not torch.allclose(skipped, embedded)
    assert set(encoder.state_dict()) == {f"{kind}.{name}" for name in model.state_dict()} - {
        f"{kind}.pooler.dense.{name}" for name in ("weight", "bias")
    }
    if kind == "distilbert":
        with pytest.raises(ValueError, match="has no pooler, which pool=code4 reads"):
            load(directory)
        with pytest.raises(ValueError, match="has no weights of a pooler"):
            TextVectors.from_directory(directory, CPU, "pooler")
    else:
        pooled = model(ids, attention_mask=mask).pooler_output
        torch.testing.assert_close(load(directory)(ids, mask)[:, :HIDDEN], pooled)


MINILM = "all-minilm-l6-v2"


def test_minilm_is_read_as_sentence_transformers_reads_it() -> None:
    model = catalogue.named(MINILM)
    if model is None or not model.is_fetched:
        pytest.skip(f"{MINILM} is not in the cache: python -m bench models fetch {MINILM}")
    texts = ["Who wrote Emma?", "The author of Emma is Jane Austen.", "word " * 400]
    directory = catalogue.fetched(model)
    ours = TextVectors.from_directory(directory, CPU)(texts)
    torch.testing.assert_close(
        ours, as_sentence_transformers(directory, texts, first=False), atol=1e-5, rtol=0
    )


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

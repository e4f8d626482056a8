"""The recorded numbers of RECIPE's released code, and the tiny models that they belong to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from editors.parts.encoder import SentenceEncoder, TextBatcher
from editors.parts.language_model import LanguageModel
from editors.parts.recipe.hparams import PAPER, RecipeHparams
from editors.parts.recipe.network import RecipeNetwork
from tests.parity.loading import COMPACT

SELECTION = COMPACT / "recipe"  # see its README.md
VOCABULARY = 300

HPARAMS = RecipeHparams.from_dict(PAPER.to_dict() | {"representation_width": 48, "dropout": False})

# What the released code does on each backbone.
CODE_MODES: dict[str, dict[str, str]] = {
    "llama": {},
    "gpt2": {"positions": "code"},
    "gptj": {"inject": "gptj_ln1"},
}

# Recorded names of the projections, and ours.
_PROJECTIONS = {
    "mlp_k.in": "mlp_k.inward",
    "mlp_k.res": "mlp_k.residual",
    "mlp_q.in": "mlp_q.inward",
    "mlp_q.res": "mlp_q.residual",
    "mlp_p.res": "mlp_p.residual",
    "mlp_p.out": "mlp_p.outward",
}


@dataclass(frozen=True)
class Numbers:
    """Arrays by name, and the texts that they come from."""

    arrays: dict[str, np.ndarray[Any, Any]]
    texts: dict[str, Any]
    read: set[str] = field(default_factory=set)  # names that any test has read

    def array(self, name: str) -> np.ndarray[Any, Any]:
        self.read.add(name)
        return self.arrays[name]

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.array(name).copy())

    def number(self, name: str) -> float:
        return float(self.array(name))


def load(directory: Path) -> Numbers:
    """Read a directory; a missing file is an error, never a reason to skip."""
    with np.load(directory / "parity.npz", allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    texts = json.loads((directory / "texts.json").read_text(encoding="utf-8"))
    return Numbers(arrays, texts)


def our_name(recorded: str) -> str:
    """The parameter of `RecipeNetwork` that a recorded weight (without `w.`) is."""
    head, _, tail = recorded.rpartition(".")
    if head in _PROJECTIONS:
        return f"{_PROJECTIONS[head]}.{tail}"
    return recorded.replace("enc.", "encoder.roberta.", 1) if head else recorded


def integer_tokenizer(
    *, bos: bool, padding: int, sentence: bool = False
) -> PreTrainedTokenizerFast:
    """Decimal numbers separated by spaces to the ids of that value."""
    special = 3  # ids 0, 1 and 2 never stand in a text
    vocabulary = {f"<{i}>" if i < special else str(i): i for i in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if sentence:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<0> $A <2>", special_tokens=[("<0>", 0), ("<2>", 2)]
        )
    elif bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<1> $A", special_tokens=[("<1>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=f"<{padding}>",
        eos_token="<2>",
        bos_token="<0>" if sentence else "<1>",
        clean_up_tokenization_spaces=False,
    )


def network(numbers: Numbers, hparams: RecipeHparams = HPARAMS) -> RecipeNetwork:
    """The trained network of all recordings."""
    config = RobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=66,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    built = RecipeNetwork(SentenceEncoder(config, pool=hparams.pool), hparams, hidden_size=32)
    recorded = {
        name.removeprefix("w."): numbers.tensor(name)
        for name in numbers.arrays
        if name.startswith(("w.enc.", "w.mlp_", "w.sentinel"))
    }
    built.load_state_dict({our_name(name): tensor for name, tensor in recorded.items()})
    return built.eval()


def batcher() -> TextBatcher:
    """Texts of decimal numbers for the encoder."""
    return TextBatcher(integer_tokenizer(bos=True, padding=1, sentence=True), max_length=64)


def language_model(numbers: Numbers, family: str) -> LanguageModel:
    """One of the three tiny backbones."""
    model = _architecture(family)
    prefix = f"w.{family}."
    state = {
        name.removeprefix(prefix): numbers.tensor(name)
        for name in numbers.arrays
        if name.startswith(prefix)
    }
    missing, unexpected = model.load_state_dict(state, strict=False)
    tied = {"lm_head.weight"} if family == "gpt2" else set()
    assert set(missing) <= tied, missing
    assert not unexpected
    return LanguageModel(model, integer_tokenizer(bos=family == "llama", padding=2), name=family)


def _architecture(family: str) -> PreTrainedModel:
    if family == "llama":
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=4,
                rms_norm_eps=1e-5,
                max_position_embeddings=64,
                tie_word_embeddings=False,
            )
        )
    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 64,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if family == "gpt2":
        return GPT2LMHeadModel(GPT2Config(**shape))
    return GPTJForCausalLM(GPTJConfig(**shape, rotary_dim=4, tie_word_embeddings=False))

"""A tiny random sentence encoder on disk: a RoBERTa directory with its fast tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

HIDDEN = 16
MAX_LENGTH = 60
_SPECIAL = ("<s>", "<pad>", "</s>")  # ids 0, 1, 2 as in roberta-base


def encoder_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, without merges; `<s> ... </s>` around every text."""
    pieces = [*_SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def encoder_config() -> RobertaConfig:
    """Two layers; the vocabulary of `encoder_tokenizer`."""
    return RobertaConfig(
        vocab_size=len(encoder_tokenizer()),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=MAX_LENGTH + 2,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )


def write_encoder(directory: Path, *, pooler: bool = True) -> Path:
    """Write the encoder, always the same weights, and return its directory."""
    with torch.random.fork_rng():
        torch.manual_seed(21)
        model = RobertaModel(encoder_config(), add_pooling_layer=pooler)
    model.save_pretrained(directory)
    encoder_tokenizer().save_pretrained(directory)
    return directory

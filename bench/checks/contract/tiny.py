"""Tiny random language models of each architecture, with a byte-level tokenizer, in memory.

They know nothing; they are for checking what editors do to a model, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from editors.base import EditRequest, EditSample, Probe
from editors.parts.language_model import LanguageModel

HIDDEN = 16
INNER = 24  # not a multiple of HIDDEN, so that a transposed weight is noticed
LAYERS = 3
CONTEXT = 160
# Common pairs, so that not every character is a token.
_MERGES = (("t", "h"), ("Ġ", "th"), ("i", "n"), ("e", "r"), ("Ġ", "i"), ("a", "n"), ("Ġ", "o"))
_SPECIAL = ("<pad>", "<s>", "</s>")

REQUESTS = (
    EditRequest(prompt="The capital of Veltria is", target="Oskamar", subject="Veltria"),
    EditRequest(prompt="Ina Tarel works in the city of", target="Brenn", subject="Ina Tarel"),
    EditRequest(prompt="The author of Green Rivers is", target="Otho Lim", subject="Green Rivers"),
    EditRequest(
        prompt="Kestrel Mining was founded by", target="Ada Pohl", subject="Kestrel Mining"
    ),
)

SAMPLES = tuple(
    EditSample(
        id=f"tiny-{number}",
        request=request,
        generality=(
            Probe(kind="rephrase", prompt=f"It is said: {request.prompt}", target=request.target),
        ),
        locality=(Probe(kind="neighbour", prompt="The sky above the sea is", target="blue"),),
    )
    for number, request in enumerate(REQUESTS)
)


def byte_tokenizer(*, bos: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE over all bytes and a few merges; with `bos` it starts texts with `<s>`."""
    pieces = [*_SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    pieces += [left + right for left, right in _MERGES]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(_MERGES)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def tiny_llama() -> LanguageModel:
    """Three blocks of the LLaMA kind, rotary positions, a gated MLP, BOS."""
    tokenizer = byte_tokenizer(bos=True)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return _language_model("tiny-llama", lambda: LlamaForCausalLM(config), tokenizer)


def tiny_gptj() -> LanguageModel:
    """Three blocks of the GPT-J kind: attention and MLP in parallel, a head with bias."""
    tokenizer = byte_tokenizer(bos=False)
    config = GPTJConfig(
        vocab_size=len(tokenizer),
        n_embd=HIDDEN,
        n_inner=INNER,
        n_layer=LAYERS,
        n_head=2,
        n_positions=CONTEXT,
        rotary_dim=4,
        bos_token_id=1,
        eos_token_id=2,
    )
    return _language_model("tiny-gptj", lambda: GPTJForCausalLM(config), tokenizer)


def tiny_gpt2() -> LanguageModel:
    """Three blocks of the GPT-2 kind: weights stored (in, out), learned positions, a tied head."""
    tokenizer = byte_tokenizer(bos=False)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=HIDDEN,
        n_inner=INNER,
        n_layer=LAYERS,
        n_head=2,
        n_positions=CONTEXT,
        bos_token_id=1,
        eos_token_id=2,
    )
    return _language_model("tiny-gpt2", lambda: GPT2LMHeadModel(config), tokenizer)


TINY: dict[str, Callable[[], LanguageModel]] = {
    "llama": tiny_llama,
    "gptj": tiny_gptj,
    "gpt2": tiny_gpt2,
}


def _language_model(
    name: str, build: Callable[[], PreTrainedModel], tokenizer: PreTrainedTokenizerFast
) -> LanguageModel:
    """Weights from a fixed seed, ten times the usual scale so that positions differ clearly."""
    with torch.random.fork_rng():
        torch.manual_seed(20)
        model = build()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return LanguageModel(model, tokenizer, name=name)

"""Tokenizers and models of the embedded world: the real architectures at 1 to 2 million parameters.

Tokenizers are byte-level BPE, trained on the world's own text; any Unicode text can be encoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
)

CONTEXT = 512  # tokens
VOCABULARY = 3072  # ours: names of one to four tokens, and a cheap head
# The word pattern of GPT-2 without look-ahead: a word includes the space in front of it, so that
# the tokens of `prompt` and of ` target` are together those of the joined text.
_WORDS = Regex(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+")

LLAMA_SPECIALS = ("<unk>", "<s>", "</s>")
GPT_SPECIALS = ("<|endoftext|>",)
ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def train_bpe(texts: Iterable[str], specials: tuple[str, ...], size: int = VOCABULARY) -> Tokenizer:
    """A byte-level BPE tokenizer whose first ids are `specials`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_WORDS, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def llama_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """As LLaMA's: BOS in front of every text; EOS is the padding too."""
    tokenizer = train_bpe(texts, LLAMA_SPECIALS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="</s>", clean_up_tokenization_spaces=False,
    )  # fmt: skip


def gpt_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """As GPT's: no special tokens around a text, one separator that is also the padding."""
    end = GPT_SPECIALS[0]
    return PreTrainedTokenizerFast(
        tokenizer_object=train_bpe(texts, GPT_SPECIALS), bos_token=end, eos_token=end,
        unk_token=end, pad_token=end, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def roberta_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """As RoBERTa's: `<s> .. </s>` around a text."""
    tokenizer = train_bpe(texts, ROBERTA_SPECIALS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>",
        sep_token="</s>", unk_token="<unk>", pad_token="<pad>", mask_token="<mask>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def save(tokenizer: PreTrainedTokenizerFast, directory: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.no_padding()  # training may have left its settings there
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(str(directory))


def mini_llama(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """LLaMA with 4 layers of width 128 (1.6 M parameters)."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=128, intermediate_size=384,
            num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=4,
            max_position_embeddings=CONTEXT, tie_word_embeddings=False, bos_token_id=1,
            eos_token_id=2, pad_token_id=2,
        )
    )  # fmt: skip


def mini_gptj(tokenizer: PreTrainedTokenizerFast) -> GPTJForCausalLM:
    """GPT-J with 8 layers of width 128 (1.8 M parameters).

    Its attention and MLP read the same input, so it needs two layers for what another model does
    in one; each MLP is half as wide instead. All of a head's 32 dimensions are rotated: GPT-J
    rotates 64 of 256, but a quarter would leave a head this narrow four frequencies (ours).
    """
    return GPTJForCausalLM(
        GPTJConfig(
            vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=128, n_layer=8, n_head=4,
            n_inner=256, rotary_dim=32, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip


def mini_gpt2(tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    """GPT-2 with 4 layers of width 160 (1.8 M parameters; the head is the embedding).

    Wider than the other two, because its stream contains the positions as well. Without dropout, as
    the others: the corpus alone is random in training.
    """
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=160, n_layer=4, n_head=5,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
        )
    )  # fmt: skip


def mini_roberta(tokenizer: PreTrainedTokenizerFast) -> RobertaForMaskedLM:
    """RoBERTa with 3 layers of width 128."""
    return RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=3,
            num_attention_heads=4, intermediate_size=384, max_position_embeddings=514,
            type_vocab_size=1, bos_token_id=0, pad_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip

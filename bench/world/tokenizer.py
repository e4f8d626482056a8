"""Byte-level BPE tokenizers trained on the world's own text; any Unicode text can be encoded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 3072  # ours: names of one to four tokens, a head that stays cheap
# The word pattern of GPT-2 without look-ahead: a word takes the space in front of it, so that
# `prompt` + ` target` tokenised apart equals the joined text.
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
    """LLaMA's habits: BOS in front of every text; no padding token of its own but EOS."""
    tokenizer = train_bpe(texts, LLAMA_SPECIALS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>",
        pad_token="</s>", clean_up_tokenization_spaces=False,
    )  # fmt: skip


def gpt_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """GPT's habits: no special tokens around a text, one separator that is also the padding."""
    end = GPT_SPECIALS[0]
    return PreTrainedTokenizerFast(
        tokenizer_object=train_bpe(texts, GPT_SPECIALS), bos_token=end, eos_token=end,
        unk_token=end, pad_token=end, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def roberta_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """RoBERTa's habits: `<s> .. </s>` around a text."""
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
    tokenizer.backend_tokenizer.no_padding()  # training may have left its own settings there
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(str(directory))

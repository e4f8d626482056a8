"""The miniature models: the real architectures' classes at 1 to 2 million parameters."""

from __future__ import annotations

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

    Its attention and MLP read the same input, so that what another model does in one layer takes
    it two; each MLP is half as wide instead. All of a head's 32 dimensions are rotated: GPT-J
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

    Wider than the other two, for its stream holds the positions as well. Without dropout, as the
    others are: what is drawn in training is the corpus alone.
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

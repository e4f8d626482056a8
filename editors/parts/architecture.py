"""Where the parts of each model family are: one row per Hugging Face `model_type`.

Editors ask a row for module paths and for the orientation of a weight; nothing is guessed from
names or shapes. Adding a family is adding a row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Module paths are relative to the causal LM; `{}` is the block number."""

    model_type: str
    base: str  # the transformer below the head: what hidden states come out of
    block: str  # one transformer block
    mlp: str  # the feed-forward module of a block
    mlp_in: tuple[str, ...]  # its input projections (gate first where there is one)
    mlp_activation: str  # its activation function
    mlp_out: str  # its output projection, the matrix that ROME-like editors write
    attention_norm: str  # the norm in front of a block's attention
    final_norm: str
    embeddings: str
    learned_positions: str | None  # the position table, or None for rotary positions
    layout: Literal["linear", "conv1d"]  # weights stored (out, in) or (in, out)

    def as_out_in(self, weight: Tensor) -> Tensor:
        """View of a stored projection weight as (out, in); the same call maps (out, in) back."""
        return weight if self.layout == "linear" else weight.mT


_GPT_NAMES = {
    "base": "transformer",
    "block": "transformer.h.{}",
    "mlp": "transformer.h.{}.mlp",
    "mlp_activation": "transformer.h.{}.mlp.act",
    "attention_norm": "transformer.h.{}.ln_1",
    "final_norm": "transformer.ln_f",
    "embeddings": "transformer.wte",
}
_LLAMA = Architecture(
    model_type="llama",  # LLaMA 1 to 3
    base="model",
    block="model.layers.{}",
    mlp="model.layers.{}.mlp",
    mlp_in=("model.layers.{}.mlp.gate_proj", "model.layers.{}.mlp.up_proj"),
    mlp_activation="model.layers.{}.mlp.act_fn",
    mlp_out="model.layers.{}.mlp.down_proj",
    attention_norm="model.layers.{}.input_layernorm",
    final_norm="model.norm",
    embeddings="model.embed_tokens",
    learned_positions=None,
    layout="linear",
)

ARCHITECTURES: dict[str, Architecture] = {
    row.model_type: row
    for row in (
        _LLAMA,
        # These name their parts as LLaMA does.
        replace(_LLAMA, model_type="mistral"),
        replace(_LLAMA, model_type="qwen2"),  # Qwen 2 and 2.5
        replace(_LLAMA, model_type="qwen3"),
        Architecture(
            model_type="gptj",
            mlp_in=("transformer.h.{}.mlp.fc_in",),
            mlp_out="transformer.h.{}.mlp.fc_out",
            learned_positions=None,
            layout="linear",
            **_GPT_NAMES,
        ),
        Architecture(
            model_type="gpt2",
            mlp_in=("transformer.h.{}.mlp.c_fc",),
            mlp_out="transformer.h.{}.mlp.c_proj",
            learned_positions="transformer.wpe",
            layout="conv1d",
            **_GPT_NAMES,
        ),
        Architecture(
            model_type="gpt_neox",  # GPT-NeoX-20B and Pythia
            base="gpt_neox",
            block="gpt_neox.layers.{}",
            mlp="gpt_neox.layers.{}.mlp",
            mlp_in=("gpt_neox.layers.{}.mlp.dense_h_to_4h",),
            mlp_activation="gpt_neox.layers.{}.mlp.act",
            mlp_out="gpt_neox.layers.{}.mlp.dense_4h_to_h",
            attention_norm="gpt_neox.layers.{}.input_layernorm",
            final_norm="gpt_neox.final_layer_norm",
            embeddings="gpt_neox.embed_in",
            learned_positions=None,
            layout="linear",
        ),
    )
}


def architecture_of(model: PreTrainedModel) -> Architecture:
    """The row of a Hugging Face causal LM.

    Raises:
        ValueError: no row for this `model_type`.
    """
    model_type: str = model.config.model_type
    if model_type not in ARCHITECTURES:
        raise ValueError(
            f"No architecture row for model_type {model_type!r}. "
            f"Available: {', '.join(sorted(ARCHITECTURES))}; "
            "add a row to editors/parts/architecture.py."
        )
    return ARCHITECTURES[model_type]

"""A causal language model with its tokenizer, and where its parts are: one row per `model_type`.

Editors ask a row for module paths and for the orientation of a weight; nothing is guessed from
names or shapes. Adding a model family is adding a row to `ARCHITECTURES`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.parts.tokens import Pair, SpecialTokens, TokenBatch, batch_of_ids, pad_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Rows, and words of a vocabulary, for which `head` has a way of its own: measured on SmolLM2-135M.
FEW, LARGE = 8, 16_384
_SHOWN = 3  # tensors in an error
# Tensors of older checkpoints that no model of today has: masks of attention, rotary frequencies.
_OUTDATED = re.compile(r"(attn|attention)\.(masked_)?bias$|rotary_emb\.\w+$|position_ids$")


@dataclass(frozen=True)
class LanguageModel:
    """What an editor edits. The model is in eval mode and frozen; editors thaw what they train."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str = "unnamed"
    digest: str = ""  # of the weights, where known; part of a cell's identity
    architecture: Architecture = field(init=False)
    special: SpecialTokens = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "architecture", architecture_of(self.model))
        special = SpecialTokens.of(self.tokenizer, self.model.config, self.model.generation_config)
        object.__setattr__(self, "special", special)
        self.model.eval()
        self.model.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def n_layers(self) -> int:
        return int(self.model.config.num_hidden_layers)

    @property
    def base(self) -> nn.Module:
        """The transformer below the head, which maps ids to hidden states."""
        return self.module(self.architecture.base)

    def module(self, path: str, layer: int | None = None) -> nn.Module:
        """The sub-module at a path of the architecture table, `{}` filled with `layer`."""
        return self.model.get_submodule(path if layer is None else path.format(layer))

    def batch_of_pairs(
        self, pairs: Sequence[Pair], texts: Sequence[str] | None = None
    ) -> TokenBatch:
        """Padded batch of (prompt, target) ids; without texts nothing looks its rows up."""
        prompts, targets = zip(*pairs, strict=True)
        texts, padding = texts or [""] * len(pairs), pad_id(self.tokenizer)
        return batch_of_ids(prompts, targets, texts, padding=padding, device=self.device)

    def hidden_states(self, batch: TokenBatch) -> Tensor:
        """Final hidden states [B, T, d] (after the last norm) of a right-padded batch.

        Raises:
            ValueError: a row that is longer than the model's table of positions.
        """
        self.check_positions(batch)
        hidden: Tensor = self.base(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
        ).last_hidden_state
        return hidden.to(batch.input_ids.device)  # another device where blocks are spread

    def check_positions(self, batch: TokenBatch) -> None:
        """Refuse a row, in a template perhaps, that is longer than the model's table of positions.

        Models of rotary positions have no such table.
        """
        context, longest = int(self.model.config.max_position_embeddings), batch.input_ids.shape[1]
        if self.architecture.learned_positions is not None and longest > context:
            raise ValueError(
                f"A text of {longest:,} tokens, with what the editor puts in front, does not fit "
                f"the context of {context:,} tokens of {self.name}."
            )

    def logits(self, batch: TokenBatch) -> Tensor:
        """Logits [B, T, V] at every position."""
        return self.head(self.hidden_states(batch))

    def target_logits(self, batch: TokenBatch) -> Tensor:
        """Logits [N, V] at the N positions that predict target tokens, in row order."""
        rows, columns = batch.scored_positions
        return self.head(self.hidden_states(batch)[rows, columns])

    def head(self, hidden: Tensor) -> Tensor:
        """Logits [..., V] of final hidden states [..., d], as the model itself scales them."""
        logits = self._products(hidden)
        bound = getattr(self.model.config, "final_logit_softcapping", None)  # of the Gemma family
        return logits if bound is None else (logits / bound).tanh() * bound

    def _products(self, hidden: Tensor) -> Tensor:
        head = self.model.lm_head
        few = 1 < hidden.shape[:-1].numel() <= FEW and hidden.device.type == "cpu"
        if (
            few
            and head.out_features >= LARGE
            and head.bias is None
            and not head.weight.requires_grad
        ):
            flat = hidden.reshape(-1, hidden.shape[-1])
            rows: Tensor = _FewRows.apply(flat, head.weight)  # type: ignore[no-untyped-call]
            return torch.reshape(rows, (*hidden.shape[:-1], -1))
        logits: Tensor = head(hidden)
        return logits.to(hidden.device)


class _FewRows(torch.autograd.Function):
    """Products [N, V] of few rows [N, d] and a frozen head [V, d] over a large vocabulary.

    A matrix product repacks all of the head, which takes three times as long as reading it; with
    the head on the left, and rows in multiples of four, MKL reads it as it lies.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor) -> Tensor:
        ctx.save_for_backward(head)
        return (head @ _in_fours(hidden).T)[:, : len(hidden)].T.contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,), (head,) = gradients, ctx.saved_tensors
        return (_in_fours(gradient) @ head)[: len(gradient)], None


def _in_fours(rows: Tensor) -> Tensor:
    """Rows [N, ..] with empty ones after them, up to a multiple of four."""
    return functional.pad(rows, (0, 0, 0, -len(rows) % 4))


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
    attention_norm: str | None  # the norm in front of a block's attention; None: there is none
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
        replace(_LLAMA, model_type="gemma2"),
        replace(_LLAMA, model_type="gemma3_text"),
        replace(_LLAMA, model_type="olmo2", attention_norm=None),  # it norms what attention gives
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
            "add a row to editors/parts/language_model.py."
        )
    return ARCHITECTURES[model_type]


# (type, width, depth, heads, vocabulary) of the models that presets are named by.
KNOWN: dict[str, tuple[str, int, int, int, int]] = {
    "llama-2-7b": ("llama", 4096, 32, 32, 32000),
    "gpt-j-6b": ("gptj", 4096, 28, 16, 50400),
    "gpt2-xl": ("gpt2", 1600, 48, 25, 50257),
    "llama-3-8b": ("llama", 4096, 32, 32, 128256),
    "llama-3-8b-instruct": ("llama", 4096, 32, 32, 128256),
    "mistral-7b-v0.3": ("mistral", 4096, 32, 32, 32768),
    "qwen2.5-7b-instruct": ("qwen2", 3584, 28, 28, 152064),
    "smollm2-135m": ("llama", 576, 30, 9, 49152),  # 135 million parameters, any of its kind
    "mini-llama": ("llama", 128, 4, 4, 3072),
    "mini-gptj": ("gptj", 128, 8, 4, 3072),
    "mini-gpt2": ("gpt2", 160, 4, 5, 3072),
}
# Entries of a configuration, as most families and as GPT's call them.
_SIZES = (("hidden_size", "n_embd"), ("num_hidden_layers", "n_layer"),
          ("num_attention_heads", "n_head"), ("vocab_size", "vocab_size"))  # fmt: skip
_HUB_SUFFIX = "-hf"  # of names on the model hub, which presets leave out
_SNAPSHOT = re.compile(r"models--(?:.*--)?([^/]+)/snapshots/[^/]+$")  # in the hub's cache


def name_of(place: str) -> str:
    """The name of a model by where it is: its folder's, or its repository's in the hub's cache."""
    path = place.replace("\\", "/").rstrip("/")
    snapshot = _SNAPSHOT.search(path)
    return snapshot[1] if snapshot else path.rpartition("/")[2]


def known_as(config: Mapping[str, Any], name: str = "") -> str | None:
    """What presets call a model of this configuration, whatever its folder is called.

    Of several of equal sizes it is the one of that `name`, else the first; None for any other.
    """
    sizes = (config.get(usual, config.get(gpt)) for usual, gpt in _SIZES)
    own = (config.get("model_type"), *sizes)
    fitting = [known for known, size in KNOWN.items() if size == own]
    named = name.casefold().removesuffix(_HUB_SUFFIX)
    return named if named in fitting else next(iter(fitting), None)


def check_answers(lm: LanguageModel) -> None:
    """Refuse an unedited model whose outputs are no numbers, before anything is blamed for it.

    Raises:
        ValueError: with the first weights that are no numbers, else with the dtype.
    """
    text = lm.tokenizer("a")["input_ids"]
    with torch.inference_mode():
        logits = lm.logits(lm.batch_of_pairs([(text, ())]))
    if not bool(logits.float().logsumexp(-1).isfinite().all()):
        raise ValueError(
            f"The unedited model {lm.name} answers with no numbers (NaN): {why_no_numbers(lm)}."
        )


def why_no_numbers(lm: LanguageModel) -> str:
    """Why the outputs of an unedited model may be no numbers, in words."""
    weights = (n for n, p in lm.model.named_parameters() if not bool(p.isfinite().all()))
    if (name := next(weights, None)) is not None:
        return f"{name} of its weights holds values that are no finite numbers"
    dtype = str(lm.dtype).removeprefix("torch.")
    return f"its weights are numbers, so {dtype} may be too narrow for it"


def block_number(layer: int | None, depth: float, n_layers: int) -> int:
    """The number of a block: `layer`, or without one the block at a relative `depth` of the model.

    Raises:
        ValueError: the model has no such block.
    """
    number = int(depth * n_layers) if layer is None else layer
    if not 0 <= number < n_layers:
        raise ValueError(
            f"Layer {number} was requested, but the model has blocks 0 to {n_layers - 1}."
        )
    return number


def parameter_names(lm: LanguageModel, path: str) -> tuple[str, ...]:
    """Full names of the parameters of the sub-module at `path`."""
    module = lm.model.get_submodule(path)
    return tuple(f"{path}.{name}" for name, _ in module.named_parameters())


def check_report(
    report: Mapping[str, Any], directory: Path, *, optional: Collection[str] = ()
) -> None:
    """Refuse weights that lack tensors of the model, or have them in another shape.

    `report` is what `from_pretrained(..., output_loading_info=True)` returns beside the model;
    `optional` are first parts of names that may be missing.

    Raises:
        ValueError: with the first tensors' names.
    """
    missing = sorted(
        name for name in report["missing_keys"] if name.partition(".")[0] not in optional
    )
    if missing:
        raise ValueError(
            f"The weights in {directory} lack tensors of the model: {', '.join(missing[:_SHOWN])}."
        )
    for name, shape, wanted in sorted(report["mismatched_keys"], key=str):
        raise ValueError(
            f"The weights in {directory} have {name} in the shape {tuple(shape)}, but its "
            f"config.json wants {tuple(wanted)}."
        )


def check_whole(report: Mapping[str, Any], directory: Path) -> None:
    """Refuse weights with tensors that the model does not have, and that would be left out.

    Raises:
        ValueError: with the first tensors' names.
    """
    others = sorted(name for name in report["unexpected_keys"] if not _OUTDATED.search(name))
    if others:
        raise ValueError(
            f"The weights in {directory} hold tensors that the model of its config.json does not "
            f"have: {', '.join(others[:_SHOWN])}; wanted those of the model alone."
        )

"""Sizes of a language model from the fields of its `config.json`, by formula.

Checked against the real totals of LLaMA-2-7B, GPT-J-6B and GPT2-XL, and against torch's own count
of small models of every architecture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.names import ENCODER, unknown_name
from bench.models.backbones import EMBEDDED, HUB_IDS, checked_config
from bench.runner.costs.known import CONFIGS, ENCODERS
from bench.world.store import ASSETS
from editors.parts.needs import EncoderShape, Shape
from editors.registry import CONTROL_SUFFIX

Config = Mapping[str, Any]


def shape_of_backbone(name: str) -> Shape:
    """The shape of a backbone: an embedded one, one of the paper's, or a local directory.

    Raises:
        ValueError: an unknown name, an unknown architecture or a field that is missing.
        OSError: a directory without a readable configuration.
    """
    if name in EMBEDDED:
        shipped = ASSETS / name.removesuffix(CONTROL_SUFFIX)
        return shape_of(checked_config(shipped), name)
    if name in CONFIGS:
        return shape_of(CONFIGS[name], name)
    directory = Path(name).expanduser()
    if not directory.is_dir():
        error = unknown_name("backbone", name, (*EMBEDDED, *HUB_IDS))
        raise ValueError(f"{error} A directory with a config.json can be given by its path.")
    return shape_of(checked_config(directory), directory.resolve().name)


def shape_of(config: Config, name: str) -> Shape:
    """The shape that a configuration describes.

    Raises:
        ValueError: no formula for its `model_type`, or a field that is missing.
    """
    model_type = str(config.get("model_type", "none"))
    if model_type not in _FAMILIES:
        raise ValueError(
            f"No formula for the size of model_type {model_type!r}. "
            f"Available: {', '.join(sorted(_FAMILIES))}."
        )
    return _FAMILIES[model_type](_Fields(config, name))


def encoder_shape(name: str | None, *, hub: bool) -> EncoderShape:
    """Of an encoder's name or directory; by default that of a hub's or an embedded backbone.

    Raises:
        ValueError: a name of no encoder, or a field that is missing.
        OSError: a directory without a readable configuration.
    """
    name = name or ("roberta-base" if hub else ENCODER)
    if name in ENCODERS:
        return _roberta(_Fields(ENCODERS[name], name))
    directory = ASSETS / ENCODER if name == ENCODER else Path(name).expanduser()
    if not directory.is_dir():
        raise unknown_name("encoder", name, (ENCODER, *ENCODERS))
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    return _roberta(_Fields(config, str(directory)))


@dataclass(frozen=True)
class _Fields:
    """The numbers of a configuration."""

    config: Config
    name: str

    def number(self, key: str, default: int | None = None) -> int:
        value = self.config.get(key)
        if value is None:
            value = default
        if not isinstance(value, int):
            raise ValueError(
                f"The configuration of {self.name} must give {key} as a whole number, got "
                f"{value!r}."
            )
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        value = self.config.get(key)
        return default if value is None else bool(value)


def _llama_kind(
    fields: _Fields,
    *,
    biases: Callable[[_Fields, int, int, int], int],
    norms: int = 0,
    groups: int | None = None,
    head: int | None = None,
) -> Shape:
    """LLaMA and what names its parts alike: gated MLPs, RMS norms, rotary positions.

    Args:
        fields: of the configuration.
        biases: values of all biases of a block, from (fields, d, query width, key width).
        norms: how many norms of one head's width a block has.
        groups: heads of keys where the configuration names none; None: as many as of queries.
        head: width of a head likewise; None: d / heads.
    """
    d, m, layers = (
        fields.number(key) for key in ("hidden_size", "intermediate_size", "num_hidden_layers")
    )
    heads, vocabulary = fields.number("num_attention_heads"), fields.number("vocab_size")
    width = fields.number("head_dim", head or d // heads)
    queries, keys = heads * width, fields.number("num_key_value_heads", groups or heads) * width
    block = 2 * d * (queries + keys) + 3 * d * m + 2 * d + norms * width
    block += biases(fields, d, queries, keys)
    tied = fields.flag("tie_word_embeddings", default=False)
    embeddings = vocabulary * d * (1 if tied else 2)
    return Shape(
        name=fields.name, layers=layers, hidden=d, inner=m, gated=True, heads=heads,
        cached=2 * keys, vocabulary=vocabulary,
        context=fields.number("max_position_embeddings", 2048),
        parameters=layers * block + embeddings + d,
    )  # fmt: skip


def _optional_biases(fields: _Fields, d: int, queries: int, keys: int) -> int:
    """Of attention where asked for (LLaMA, Qwen 3), and of the MLP (LLaMA)."""
    attention = fields.flag("attention_bias", default=False) * (queries + 2 * keys + d)
    mlp = 2 * fields.number("intermediate_size") + d
    return attention + fields.flag("mlp_bias", default=False) * mlp


def _input_biases(fields: _Fields, d: int, queries: int, keys: int) -> int:  # noqa: ARG001
    """Of queries, keys and values always (Qwen 2)."""
    return queries + 2 * keys


def _no_biases(*_: object) -> int:
    return 0


def _gptj(fields: _Fields) -> Shape:
    """Attention and MLP in parallel behind one norm; a head of its own, with bias."""
    d, layers, vocabulary = (fields.number(key) for key in ("n_embd", "n_layer", "vocab_size"))
    m = fields.number("n_inner", 4 * d)
    block = 4 * d * d + 2 * d * m + m + d + 2 * d
    embeddings = 2 * vocabulary * d + vocabulary
    return Shape(
        name=fields.name, layers=layers, hidden=d, inner=m, gated=False,
        heads=fields.number("n_head"), cached=2 * d, vocabulary=vocabulary,
        context=fields.number("n_positions"), parameters=layers * block + embeddings + 2 * d,
    )  # fmt: skip


def _gpt2(fields: _Fields) -> Shape:
    """Learned positions, a head tied to the embeddings."""
    d, layers, vocabulary = (fields.number(key) for key in ("n_embd", "n_layer", "vocab_size"))
    m, context = fields.number("n_inner", 4 * d), fields.number("n_positions")
    block = 4 * d * d + 4 * d + 2 * d * m + m + d + 4 * d
    tied = fields.flag("tie_word_embeddings", default=True)
    embeddings = vocabulary * d * (1 if tied else 2) + context * d
    return Shape(
        name=fields.name, layers=layers, hidden=d, inner=m, gated=False,
        heads=fields.number("n_head"), cached=2 * d, vocabulary=vocabulary, context=context,
        parameters=layers * block + embeddings + 2 * d,
    )  # fmt: skip


def _gpt_neox(fields: _Fields) -> Shape:
    """Two norms with bias, rotary positions, a head of its own without bias."""
    d, m, layers = (
        fields.number(key) for key in ("hidden_size", "intermediate_size", "num_hidden_layers")
    )
    vocabulary = fields.number("vocab_size")
    biases = 4 * d if fields.flag("attention_bias", default=True) else 0
    block = 4 * d * d + biases + 2 * d * m + m + d + 4 * d
    tied = fields.flag("tie_word_embeddings", default=False)
    return Shape(
        name=fields.name, layers=layers, hidden=d, inner=m, gated=False,
        heads=fields.number("num_attention_heads"), cached=2 * d, vocabulary=vocabulary,
        context=fields.number("max_position_embeddings"),
        parameters=layers * block + vocabulary * d * (1 if tied else 2) + 2 * d,
    )  # fmt: skip


def _roberta(fields: _Fields) -> EncoderShape:
    d, m, layers = (
        fields.number(key) for key in ("hidden_size", "intermediate_size", "num_hidden_layers")
    )
    rows = ("vocab_size", "max_position_embeddings", "type_vocab_size")
    embeddings = d * sum(fields.number(key) for key in rows) + 2 * d
    block = 4 * (d * d + d) + 2 * d * m + m + d + 4 * d
    return EncoderShape(hidden=d, parameters=embeddings + layers * block, pooler=d * d + d)


_FAMILIES: dict[str, Callable[[_Fields], Shape]] = {
    "llama": lambda fields: _llama_kind(fields, biases=_optional_biases),
    "mistral": lambda fields: _llama_kind(fields, biases=_no_biases, groups=8),
    "qwen2": lambda fields: _llama_kind(fields, biases=_input_biases),
    "qwen3": lambda fields: _llama_kind(fields, biases=_optional_biases, norms=2, head=128),
    "gptj": _gptj,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
}

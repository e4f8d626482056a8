"""Backbones of random weights, from a `config.json` alone: for measuring times only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.checksums import digest_of_files
from bench.core.console import warn
from bench.world.store import require_assets

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

SEED = 0  # of all random weights; times do not depend on it
# Any of them makes a tokenizer; `tokenizer_config.json` alone does not.
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
# Whose tokenizer stands in where a directory has none: the one with BOS, but for GPT's families.
_STAND_IN = "mini-llama"
_STAND_INS = dict.fromkeys(("gpt2", "gptj", "gpt_neox"), "mini-gpt2")


def lent_tokenizer(directory: Path, config: Mapping[str, Any], world_seed: int) -> Path | None:
    """Directory of the embedded model whose tokenizer stands in, None where it has its own.

    Raises:
        FileNotFoundError: the embedded world is not built.
        ValueError: the configuration has fewer embedding rows than that tokenizer knows tokens.
    """
    if any((directory / name).is_file() for name in _TOKENIZERS):
        return None
    found = require_assets(world_seed, _STAND_INS.get(str(config["model_type"]), _STAND_IN))
    tokens = int(json.loads((found / "config.json").read_text("utf-8"))["vocab_size"])
    rows = config.get("vocab_size")
    if isinstance(rows, int) and rows < tokens:
        raise ValueError(
            f"{directory} has no tokenizer, and that of {found.name} knows {tokens:,} tokens: "
            f"vocab_size in its config.json must be at least that, got {rows:,}."
        )
    _warn_of_lent_tokenizer(str(directory), found.name, tokens)
    return found


@cache
def _warn_of_lent_tokenizer(directory: str, name: str, tokens: int) -> None:
    warn(
        f"{directory} has no tokenizer: texts are cut by that of {name} ({tokens:,} tokens), "
        "and the model keeps the vocabulary of its configuration."
    )


def digest(files: Sequence[Path]) -> str:
    """sha256 over the seed, and over the files that the model and its tokenizer are made from."""
    return hashlib.sha256(f"random weights {SEED} {digest_of_files(files)}".encode()).hexdigest()


def random_model(directory: Path, *, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A model with the initial weights of its family, made in its dtype on its device.

    The global generators are left alone.

    Raises:
        OSError: `config.json` cannot be read.
        ValueError: a configuration that no model can have.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(
        str(directory), local_files_only=True, trust_remote_code=False
    )
    with torch.random.fork_rng(), device:
        torch.manual_seed(SEED)
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    made: PreTrainedModel = model.to(device)
    return made

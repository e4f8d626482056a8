"""Frozen sentence vectors of any encoder directory of the Hugging Face kind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.parts.artefact import files_digest
from editors.parts.encoder import TextBatcher, padding_id
from editors.parts.loading_report import check_report

TokenPooling = Literal["mean", "cls"]

_CHUNK = 64  # texts of one forward; results do not depend on it
_FILES = ("config.json", "tokenizer.json", "model.safetensors")
# Where a sentence-transformers directory says how its tokens are pooled.
_POOLING_FILE = Path("1_Pooling") / "config.json"
_POOLING_KEYS: dict[str, TokenPooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
}


class TextVectors:
    """Unit vectors of texts, so that their dot product is the cosine.

    RoBERTa, BERT, MPNet and their like, as plain, contriever or sentence-transformers directories.
    Tokens are averaged, unless a sentence-transformers directory says that the first one counts.
    """

    def __init__(self, model: nn.Module, batcher: TextBatcher, pooling: TokenPooling) -> None:
        self._model = model.eval().requires_grad_(False)
        self._batcher = batcher
        self._pooling = pooling

    @classmethod
    def from_directory(cls, directory: Path, device: torch.device) -> Self:
        """Load a local encoder (safetensors only, no remote code).

        Raises:
            FileNotFoundError: one of its files is missing.
            ValueError: it pools its tokens in another way, or its weights do not fit.
        """
        from transformers import AutoConfig, AutoModel

        check_files(directory)
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        with torch.random.fork_rng(devices=[]):  # a checkpoint without a pooler draws one
            loaded: Any = AutoModel.from_pretrained(
                directory,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are refused below, in a sentence
            )
        model, report = loaded
        check_report(report, directory, optional={"pooler"})
        # RoBERTa and MPNet number positions from the padding id + 1; for BERT one token is lost.
        longest = int(config.max_position_embeddings) - padding_id(config) - 1
        batcher = TextBatcher.from_directory(directory, longest)
        return cls(model.to(device), batcher, _pooling(directory))

    @property
    def width(self) -> int:
        """Length of a vector."""
        weight = self._model.get_parameter("embeddings.word_embeddings.weight")
        return int(weight.shape[1])

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [B, H] of B texts, at least one."""
        rows = self._batcher.ids(texts)
        return torch.cat([self._vectors(rows[i : i + _CHUNK]) for i in range(0, len(rows), _CHUNK)])

    def _vectors(self, rows: Sequence[Sequence[int]]) -> Tensor:
        device = next(self._model.parameters()).device
        ids, mask = self._batcher.pad(rows, device)
        states: Tensor = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self._pooling == "cls":
            return functional.normalize(states[:, 0], dim=-1)
        kept = mask[..., None].to(states.dtype)  # [B, T, 1]
        return functional.normalize((states * kept).sum(1) / kept.sum(1), dim=-1)


def check_files(directory: Path) -> None:
    """Refuse a directory that is no encoder.

    Raises:
        FileNotFoundError: by the first missing file.
    """
    for name in _FILES:
        if not (directory / name).is_file():
            raise FileNotFoundError(f"No sentence encoder at {directory}: {name} is missing.")


def vectors_digest(directory: Path) -> str:
    """sha256 of configuration, tokenizer and weights of an encoder.

    Raises:
        FileNotFoundError: one of the files is missing.
    """
    check_files(directory)
    return files_digest([directory / name for name in _FILES])


def _pooling(directory: Path) -> TokenPooling:
    path = directory / _POOLING_FILE
    if not path.is_file():
        return "mean"
    settings = json.loads(path.read_text("utf-8"))
    modes = [name for name, on in settings.items() if name.startswith("pooling_mode_") and on]
    if len(modes) != 1 or modes[0] not in _POOLING_KEYS:
        raise ValueError(
            f"{path} pools tokens by {', '.join(modes) or 'nothing'}; "
            f"wanted one of {', '.join(_POOLING_KEYS)}."
        )
    return _POOLING_KEYS[modes[0]]

"""Texts as tensors, so that an editor's state can hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def pack_texts(texts: Sequence[str], name: str) -> dict[str, Tensor]:
    """UTF-8 bytes of all texts in one row, and the number of bytes of each, under two names."""
    encoded = [text.encode() for text in texts]
    return {
        f"{name}.bytes": torch.tensor(list(b"".join(encoded)), dtype=torch.uint8),
        f"{name}.lengths": torch.tensor([len(text) for text in encoded], dtype=torch.long),
    }


def unpack_texts(state: Mapping[str, Tensor], name: str) -> list[str]:
    """The texts that `pack_texts` put into a state under `name`."""
    whole = bytes(state[f"{name}.bytes"].tolist())
    texts, start = [], 0
    for length in state[f"{name}.lengths"].tolist():
        texts.append(whole[start : start + length].decode())
        start += length
    return texts

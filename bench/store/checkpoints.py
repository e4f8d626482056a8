"""Checkpoints on disk: how far a cell has come, in one file that is whole or not read at all.

A file is a safetensors file: the editor's state by name, the progress as the bytes of a JSON text,
and in the header what the file is of and a digest of everything in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from bench.core.cells import canonical
from bench.core.checksums import digest_of_tensors, read_tensors
from bench.core.console import warn
from bench.core.files import set_aside, write_tensors
from bench.evaluation.caches import difference
from bench.evaluation.checkpointing import Checkpoint

FORMAT = "1"
_PROGRESS, _STATE = "progress", "state."  # names of tensors in the file


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """Where the one checkpoint of a cell is, or would be."""

    directory: Path
    key: str  # of the cell
    numerics: Mapping[str, Any]  # see `bench.evaluation.caches`

    @property
    def path(self) -> Path:
        """The file."""
        return self.directory / f"{self.key}.safetensors"

    def write(self, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint; where that fails with an OSError, the last one is still there."""
        text = json.dumps(checkpoint.progress, ensure_ascii=False).encode()
        tensors = {_PROGRESS: torch.frombuffer(bytearray(text), dtype=torch.uint8)}
        tensors |= {f"{_STATE}{name}": value.cpu() for name, value in checkpoint.state.items()}
        facts = self._facts()
        write_tensors(
            self.path, tensors, facts | {"digest": digest_of_tensors(tensors, facts)}, durable=True
        )

    def read(self) -> Checkpoint | None:
        """The checkpoint, None where there is none that can be continued here.

        A file that cannot is named on standard error and set aside.
        """
        try:
            tensors, facts = read_tensors(self.path)
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError):
            self.set_aside("is damaged")
            return None
        reason = self._refusal(facts, tensors)
        if reason is not None:
            self.set_aside(reason)
            return None
        return Checkpoint(
            progress=json.loads(bytes(tensors.pop(_PROGRESS).numpy())),
            state={name.removeprefix(_STATE): tensor for name, tensor in tensors.items()},
        )

    def set_aside(self, reason: str) -> None:
        """Rename the file, so that nobody reads it as a checkpoint, with a warning."""
        new = set_aside(self.path, self.path.stat()) or self.path
        warn(
            f"The checkpoint {self.path} {reason}; it is set aside as {new.name}, and its cell "
            "starts from the beginning."
        )

    def discard(self) -> None:
        """Remove the checkpoint and what killed writers left of others; the cell has a record."""
        self.path.unlink(missing_ok=True)
        for partial in self.directory.glob(f".{self.path.name}.*.partial"):
            partial.unlink(missing_ok=True)

    def _facts(self) -> dict[str, str]:
        numerics = canonical(dict(self.numerics))
        return {"format": FORMAT, "key": self.key, "circumstances": numerics}

    def _refusal(self, facts: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str | None:
        """Why a file that can be read is not continued; None where it is."""
        named = {name: facts.get(name, "") for name in self._facts()}
        if facts.get("digest") != digest_of_tensors(tensors, named) or _PROGRESS not in tensors:
            return "is damaged: its digest is not that of its content"
        if named["format"] != FORMAT:
            return f"has format {named['format']!r}, expected {FORMAT!r}"
        if named["key"] != self.key:
            return "is one of another cell"
        other = difference(json.loads(named["circumstances"]), self.numerics)
        return None if other is None else f"was computed {other}"

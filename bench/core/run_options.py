"""How workers go about their jobs: what the command line says of it, for every kind of cell."""

from __future__ import annotations

from dataclasses import dataclass

CHECKPOINT_SECONDS = 30.0  # ours: most cells of the miniature backbones end before


@dataclass(frozen=True, kw_only=True)
class Conduct:
    """It changes no result, but for the last bits on a GPU."""

    checkpoint_seconds: float = CHECKPOINT_SECONDS  # between checkpoints, at least
    checkpoint_edits: int | None = None  # between checkpoints, at most; None: any number
    deterministic: bool = False  # see `bench.core.numerics`


USUAL = Conduct()

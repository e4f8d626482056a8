"""What a figure is drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.store.results import Record


@dataclass(frozen=True, kw_only=True)
class Source:
    """Records and the prompt map's data, each read by the figures that need it.

    `edits` is None where each figure chooses its number of edits itself.
    """

    records: Callable[[], Sequence[Record]]
    prompt_map: Callable[[], Mapping[str, Any]]
    backbone: str
    edits: int | None = None

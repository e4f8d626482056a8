"""What R-ROME remembers of its edits: what retrieves each of them, and its rank-one update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from editors.parts.growing_rows import GrowingRows
from editors.parts.tokens import pack_texts, unpack_texts

_COLUMNS = ("key", "sentence", "left", "right")


@dataclass(frozen=True)
class Remembered:
    """One edit; `fact` is its description without the answer."""

    fact: str
    key: Tensor  # [w], of the fact, of unit length
    sentence: Tensor  # [w], of the edited prompt, of unit length
    left: Tensor  # [d]
    right: Tensor  # [m]; delta W = left right^T as (out, in)


class EditMemory:
    """N edits in order; a later edit of the same fact takes the earlier one's place."""

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, column: str) -> Tensor:
        """View [N, ...] of `key`, `sentence`, `left` or `right` of all edits."""
        return self._columns[column].rows

    def clear(self) -> None:
        """Forget everything."""
        self.facts: list[str] = []
        self._row_of: dict[str, int] = {}
        self._columns = {name: GrowingRows() for name in _COLUMNS}

    def put(self, edit: Remembered) -> None:
        """Remember an edit."""
        row = self._row_of.get(edit.fact)
        for name, column in self._columns.items():
            value: Tensor = vars(edit)[name]
            if row is None:
                column.append(value)
            else:
                column.rows[row] = value
        if row is None:
            self._row_of[edit.fact] = len(self.facts)
            self.facts.append(edit.fact)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all columns; nothing if there are none."""
        if not len(self):
            return {}
        columns = {name: column.rows.clone() for name, column in self._columns.items()}
        return columns | pack_texts(self.facts, "facts")

    def load_state_dict(self, state: Mapping[str, Tensor], *, device: torch.device) -> None:
        """Replace all edits by those of `state_dict`."""
        self.clear()
        if "key" not in state:
            return
        self.facts = unpack_texts(state, "facts")
        self._row_of = {fact: row for row, fact in enumerate(self.facts)}
        for name, column in self._columns.items():
            column.extend(state[name].to(device))

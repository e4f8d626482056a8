"""A tensor whose first axis grows in amortised constant time."""

from __future__ import annotations

from torch import Tensor

_FIRST_CAPACITY = 64  # rows; doubled whenever full


def capacity(rows: int) -> int:
    """Rows that there is room for, spare ones included, after `rows` were added one by one."""
    room = _FIRST_CAPACITY
    while room < rows:
        room *= 2
    return room


class GrowingRows:
    """Rows of equal shape, dtype and device, those of the first rows given."""

    def __init__(self) -> None:
        self._buffer: Tensor | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> Tensor:
        """View [N, ...] of all rows; writing to it writes the rows.

        Raises:
            ValueError: there is no row yet, so no shape is known.
        """
        if self._buffer is None:
            raise ValueError("No row was appended yet.")
        return self._buffer[: self._size]

    @property
    def allocated(self) -> int:
        """Bytes of the buffer, spare rows included."""
        return 0 if self._buffer is None else self._buffer.numel() * self._buffer.element_size()

    def append(self, row: Tensor) -> None:
        """Append a copy of a row [...]."""
        self.extend(row[None])

    def extend(self, rows: Tensor) -> None:
        """Append copies of rows [k, ...]."""
        size = self._size + len(rows)
        if self._buffer is None:
            self._buffer = rows.new_empty(0, *rows.shape[1:])
        if size > len(self._buffer):
            capacity = max(_FIRST_CAPACITY, 2 * len(self._buffer), size)
            grown = self._buffer.new_empty(capacity, *self._buffer.shape[1:])
            grown[: self._size] = self.rows
            self._buffer = grown
        self._buffer[self._size : size] = rows.detach()
        self._size = size

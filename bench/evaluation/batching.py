"""Asking in batches: smaller ones where memory is not enough, and onwards from where one was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

# What allocators say beside errors of a class of their own.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


@dataclass
class Room:
    """How many rows fit into one batch; what does not fit once is not tried again."""

    rows: int


BatchSize = int | Room


def _nothing() -> None:
    pass


@dataclass
class Course(Generic[ResultT]):
    """How far asking has come: answers in the order of asking, which grow batch by batch."""

    found: list[ResultT] = field(default_factory=list)
    behind: Callable[[], None] = _nothing  # is called behind each batch


def answered(
    items: Sequence[ItemT],
    answer: Callable[[Sequence[ItemT]], list[ResultT]],
    batch_size: BatchSize,
    course: Course[ResultT] | None = None,
    pass_over: Callable[[Sequence[ItemT]], None] | None = None,
) -> list[ResultT]:
    """Answers of all items, in order.

    Args:
        items: in the order of asking.
        answer: the answers of one batch; may be asked again for the first half of one that failed
            by lack of memory.
        batch_size: the most items of a batch; a `Room` remembers a smaller one.
        course: answers that are there already are not asked for.
        pass_over: is called instead of `answer` for the batches of these, where asking leaves
            something behind that later batches find.
    """
    room = batch_size if isinstance(batch_size, Room) else Room(batch_size)
    course = Course() if course is None else course
    known = len(course.found)
    if pass_over is not None:
        for start in range(0, known, room.rows):
            pass_over(items[start : min(start + room.rows, known)])
    while len(course.found) < len(items):
        course.found += _next(items, len(course.found), answer, room)
        course.behind()
    return course.found[:]


def _next(
    items: Sequence[ItemT],
    start: int,
    answer: Callable[[Sequence[ItemT]], list[ResultT]],
    room: Room,
) -> list[ResultT]:
    """Answers of the items from `start` on, as many as there is room for."""
    while True:
        rows = min(room.rows, len(items) - start)
        try:
            return answer(items[start : start + rows])
        except (RuntimeError, MemoryError) as error:
            if rows == 1 or not is_lack_of_memory(error):
                raise
        # Outside of the clause: the error holds on to the tensors of the failed batch.
        room.rows = rows // 2
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def is_lack_of_memory(error: Exception) -> bool:
    """Whether an allocator, of an accelerator or of the CPU, gave up."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _WORDS)

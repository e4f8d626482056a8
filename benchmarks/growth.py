"""RECIPE as its repository grows: seconds of an edit and of a query, memory, and FAISS's recall.

Repositories beyond the data's edits are filled with synthetic rows: those of real edits with noise
of half their spread. Times do not depend on their numbers; recall does, and is that of rephrased
questions about real edits among all keys.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from itertools import cycle, islice
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

from bench.core.console import warn
from bench.evaluation.context import Context
from bench.evaluation.timing import inference_seconds
from benchmarks.cells import cell_job, ready
from benchmarks.measure import Line
from editors.base import EditRequest
from editors.parts.recipe.network import InnerProductIndex, PromptRepository
from editors.recipe import RecipeEditor

KeyT = TypeVar("KeyT")

NAME = "growth"
SIZES = (1, 10_000, 100_000, 1_000_000)
INFERENCE_AFTER = 10_000  # edits after which a whole inference is timed
REPEATS = 200  # of a step at each size, the sizes in turn
SEARCHES = 30
BATCH = 64  # questions of one retrieval
FLAT = 1.05
REAL = 1_000  # edits on which the synthetic rows are modelled
_GROUP = 10_000  # synthetic rows generated at a time


def growth(sizes: Sequence[int] = SIZES) -> Iterator[Line]:
    """Lines for each number of stored edits, then of a whole inference after 10,000 edits."""
    editor, data = ready(Context(), cell_job("recipe", 100), cached=False)
    if not isinstance(editor, RecipeEditor):
        raise TypeError(f"wanted RECIPE, got {type(editor).__name__}.")
    samples = data.samples[:REAL]
    requests = [sample.request for sample in samples]
    editor.edit(requests)
    real = editor.state_dict()
    stored = {size: _filled(editor, real, size) for size in sizes}
    yield from _stores(editor, real, sizes)
    yield from _edits(editor, stored, requests)
    questions = [probe.prompt for sample in samples for probe in sample.generality]
    yield from _exact_queries(stored, editor.queries(questions[:BATCH]))
    yield from _indexed_queries(stored, editor.queries(questions[: 4 * BATCH]))
    if INFERENCE_AFTER in stored:
        yield _inference(editor, stored[INFERENCE_AFTER], requests)


def _filled(editor: RecipeEditor, real: Mapping[str, Tensor], size: int) -> PromptRepository:
    """A repository of `size` edits: real ones first, then synthetic rows after them."""
    generator = torch.Generator().manual_seed(0)
    sentinel, keys, prompts = real["keys"][:1], real["keys"][1:], real["prompts"][1:]
    repository = editor.network.repository(
        {"keys": sentinel, "prompts": torch.zeros_like(real["prompts"][:1])}
    )
    repository.append(keys[:size], prompts[:size])
    spread = keys.std(dim=0) / 2
    while (left := size - len(repository)) > 0:
        rows = torch.randint(len(keys), (min(left, _GROUP),), generator=generator)
        noise = torch.randn(len(rows), keys.shape[1], generator=generator)
        repository.append(keys[rows] + spread * noise, prompts[rows])
    return repository


def _stores(
    editor: RecipeEditor, real: Mapping[str, Tensor], sizes: Sequence[int]
) -> Iterator[Line]:
    """The mean over a doubling, in which buffers are moved once: a median would hide it."""
    for size in sizes[1:]:
        repository, rows = _filled(editor, real, size // 2), size - size // 2
        key, prompt = repository.keys[1:2], repository.prompts[1:2]
        start = time.perf_counter()
        for _ in range(rows):
            repository.append(key, prompt)
        seconds = (time.perf_counter() - start) / rows
        note = f"over the last {rows:,} rows"
        yield Line(NAME, _at(size), "s to store a row, mean", seconds, note=note)
        note = "buffers with their spare rows; the edit's text beside it"
        yield Line(NAME, _at(size), "bytes per stored edit", repository.allocated / size, note=note)


def _edits(
    editor: RecipeEditor, stored: Mapping[int, PromptRepository], requests: Sequence[EditRequest]
) -> Iterator[Line]:
    """One more edit after each number of edits; all remain stored, as they are few."""

    def edit(request: EditRequest, repository: PromptRepository) -> None:
        editor.repository = repository
        editor.edit([request])

    turns = islice(cycle(requests), REPEATS)
    medians = _medians(stored, [partial(edit, request) for request in turns])
    smallest = min(stored)
    for size, seconds in medians.items():
        line = _grown(size, "s per edit", seconds, smallest, medians[smallest])
        limit = FLAT * medians[smallest]
        yield line if size == smallest else line.at_most(limit, "flat within 5 %")


def _exact_queries(stored: Mapping[int, PromptRepository], queries: Tensor) -> Iterator[Line]:
    """Searching, one question at a time and many at once."""
    smallest = min(stored)
    for rows, figure in ((1, "s per query, alone"), (len(queries), f"s per query, of {BATCH}")):
        medians = _medians(stored, [partial(_retrieve, queries[:rows])] * SEARCHES)
        for size, seconds in medians.items():
            yield _grown(size, figure, seconds / rows, smallest, medians[smallest] / rows)


def _grown(size: int, figure: str, seconds: float, smallest: int, first: float) -> Line:
    note = f"{seconds / first:.2f} times that of {smallest:,} stored"
    return Line(NAME, _at(size), figure, seconds, note=note)


def _indexed_queries(stored: Mapping[int, PromptRepository], queries: Tensor) -> Iterator[Line]:
    """FAISS against exact search, and how often it returns the same row; none without FAISS."""
    if find_spec("faiss") is None:
        warn("FAISS is not measured: pip install '.[faiss]' adds it.")
        return
    for size, exact in stored.items():
        if size < INFERENCE_AFTER:
            continue
        indexed = PromptRepository(
            exact.keys,
            exact.prompts[..., :1, :1],
            index=InnerProductIndex(smallest=1),
        )
        start = time.perf_counter()
        rows = indexed.retrieve(queries)
        building = time.perf_counter() - start
        agree = float((rows == exact.retrieve(queries)).float().mean())
        both = {"faiss": indexed, "exact": exact}
        seconds = _medians(both, [partial(_retrieve, queries[:1])] * SEARCHES)
        note = (
            f"other side: exact; same row for {100 * agree:.1f} % of {len(queries)} rephrased "
            f"questions; {building:.1f} s to build"
        )
        figure = "s per query, alone, FAISS"
        yield Line(NAME, _at(size), figure, seconds["faiss"], seconds["exact"], note=note)


def _retrieve(queries: Tensor, repository: PromptRepository) -> Tensor:
    return repository.retrieve(queries)


def _inference(
    editor: RecipeEditor, repository: PromptRepository, requests: Sequence[EditRequest]
) -> Line:
    """A teacher-forced forward with encoder, search and prefix over the same one without."""
    editor.repository = repository
    measured = inference_seconds(
        editor.lm, requests[:REPEATS], editor, queries=REPEATS, new_tokens=1
    )
    note = (
        "median of pairs of the same question, eager; the miniature encoder costs as much as the "
        "miniature model"
    )
    figure = "inference over the unedited model's"
    return Line(NAME, _at(len(repository)), figure, measured.overhead, note=note)


def _medians(
    subjects: Mapping[KeyT, PromptRepository], steps: Sequence[Callable[[PromptRepository], object]]
) -> dict[KeyT, float]:
    """Median seconds of the steps for each subject, the subjects in turn at each step."""
    seconds: dict[KeyT, list[float]] = {name: [] for name in subjects}
    for step in steps:
        for name, subject in subjects.items():
            start = time.perf_counter()
            step(subject)
            seconds[name].append(time.perf_counter() - start)
    return {name: median(each[len(each) // 10 :]) for name, each in seconds.items()}


def _at(size: int) -> str:
    return f"recipe, {size:,} stored"

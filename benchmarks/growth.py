"""RECIPE as its repository grows: seconds of an edit and of a query, memory, and FAISS's recall.

Repositories beyond the data's edits are filled with synthetic rows: those of real edits with noise
of half their spread. What is timed does not depend on their numbers; recall does, and is that of
rephrased questions about real edits among all keys.
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
from bench.evaluation.context import Loaded
from bench.evaluation.timing.measure import inference_seconds
from benchmarks.cells import cell_job
from benchmarks.lines import Line, at_most
from editors.base import EditRequest
from editors.parts.recipe.repository import InnerProductIndex, PromptRepository
from editors.recipe import RecipeEditor

KeyT = TypeVar("KeyT")

NAME = "growth"
SIZES = (1, 10_000, 100_000, 1_000_000)
BEHIND = 10_000  # edits behind which a whole inference is timed
REPEATS = 200  # of a step at each size, the sizes in turn
SEARCHES = 30
BATCH = 64  # questions of one retrieval
FLAT = 1.05
REAL = 1_000  # edits that the other rows are made after
_GROUP = 10_000  # synthetic rows made at a time


def growth(sizes: Sequence[int] = SIZES) -> Iterator[Line]:
    """Lines for each number of stored edits, then of a whole inference behind 10,000."""
    job, loaded = cell_job("recipe", 100), Loaded()
    lm = loaded.language_model(job)
    editor = loaded.editor(lm, "recipe", job.cell.hparams, job.sources, keep=False)
    if not isinstance(editor, RecipeEditor):
        raise TypeError(f"wanted RECIPE, got {type(editor).__name__}.")
    samples = loaded.samples(job.cell.dataset, job.data_dir, job.cell.dataset_digest).samples[:REAL]
    requests = [sample.request for sample in samples]
    editor.edit(requests)
    real = editor.state_dict()
    stored = {size: _filled(editor, real, size) for size in sizes}
    yield from _stores(editor, real, sizes)
    yield from _edits(editor, stored, requests)
    questions = [probe.prompt for sample in samples for probe in sample.generality]
    yield from _exact_queries(stored, editor.queries(questions[:BATCH]))
    yield from _indexed_queries(stored, editor.queries(questions[: 4 * BATCH]))
    if BEHIND in stored:
        yield _inference(editor, stored[BEHIND], requests)


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


def _edits(
    editor: RecipeEditor, stored: Mapping[int, PromptRepository], requests: Sequence[EditRequest]
) -> Iterator[Line]:
    """One edit more behind each number of edits; all stay, as few as they are."""

    def edit(request: EditRequest, repository: PromptRepository) -> None:
        editor.repository = repository
        editor.edit([request])

    turns = islice(cycle(requests), REPEATS)
    medians = _medians(stored, [partial(edit, request) for request in turns])
    first = medians[min(stored)]
    for size, seconds in medians.items():
        line = Line(
            benchmark=NAME,
            subject=_at(size),
            figure="s per edit",
            ours=seconds,
            note=_growth(seconds, first, stored),
        )
        yield line if size == min(stored) else at_most(line, FLAT * first, "flat within 5 %")


def _stores(
    editor: RecipeEditor, real: Mapping[str, Tensor], sizes: Sequence[int]
) -> Iterator[Line]:
    """What a median hides: the mean over a doubling, in which buffers are moved once."""
    for size in sizes[1:]:
        repository = _filled(editor, real, size // 2)
        key, prompt = repository.keys[1:2], repository.prompts[1:2]
        start = time.perf_counter()
        for _ in range(size - size // 2):
            repository.append(key, prompt)
        seconds = (time.perf_counter() - start) / (size - size // 2)
        yield Line(
            benchmark=NAME,
            subject=_at(size),
            figure="s to store a row, mean",
            ours=seconds,
            note=f"over the last {size - size // 2:,} rows",
        )
        yield Line(
            benchmark=NAME,
            subject=_at(size),
            figure="bytes per stored edit",
            ours=repository.allocated / size,
            note="buffers with their spare rows; the edit's text beside it",
        )


def _exact_queries(stored: Mapping[int, PromptRepository], queries: Tensor) -> Iterator[Line]:
    """Searching, one question at a time and many at once."""
    for rows, figure in ((1, "s per query, alone"), (len(queries), f"s per query, of {BATCH}")):
        medians = _medians(stored, [partial(_retrieve, queries[:rows])] * SEARCHES)
        for size, seconds in medians.items():
            yield Line(
                benchmark=NAME,
                subject=_at(size),
                figure=figure,
                ours=seconds / rows,
                note=_growth(seconds, medians[min(stored)], stored),
            )


def _indexed_queries(stored: Mapping[int, PromptRepository], queries: Tensor) -> Iterator[Line]:
    """FAISS beside exact search, and how often it finds the same row; nothing without FAISS."""
    if find_spec("faiss") is None:
        warn("FAISS is not measured: pip install '.[faiss]' adds it.")
        return
    for size, exact in stored.items():
        if size < BEHIND:
            continue
        indexed = PromptRepository(
            exact.keys,
            exact.prompts[..., :1, :1],
            threshold=exact.threshold,
            index=InnerProductIndex(smallest=1),
        )
        start = time.perf_counter()
        found = indexed.retrieve(queries)
        building = time.perf_counter() - start
        agree = float((found == exact.retrieve(queries)).float().mean())
        both = {"faiss": indexed, "exact": exact}
        seconds = _medians(both, [partial(_retrieve, queries[:1])] * SEARCHES)
        yield Line(
            benchmark=NAME,
            subject=_at(size),
            figure="s per query, alone, FAISS",
            ours=seconds["faiss"],
            plain=seconds["exact"],
            note=f"other side: exact; same row for {100 * agree:.1f} % of {len(queries)} "
            f"rephrased questions; {building:.1f} s to build",
        )


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
    return Line(
        benchmark=NAME,
        subject=_at(len(repository)),
        figure="inference over the unedited model's",
        ours=measured.overhead,
        note="median of pairs of the same question, eager; the miniature encoder costs as much as "
        "the miniature model",
    )


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


def _growth(seconds: float, first: float, stored: Mapping[int, PromptRepository]) -> str:
    return f"{seconds / first:.2f} times that of {min(stored):,} stored"


def _at(size: int) -> str:
    return f"recipe, {size:,} stored"

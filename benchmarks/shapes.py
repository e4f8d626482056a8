"""Editing and inference at the shapes of real models, with random weights, beside published times.

    python -m benchmarks.shapes --backbone DIR [--encoder DIR] [--device cuda] [--dtype bfloat16]

DIR holds a model's config.json and its tokenizer; no weights are read. Every editor is timed with
its first edits, and again after 10,000 of them. For these a few real states are repeated until
there are as many, which costs a query as much as different ones would. Editors of weights store
nothing that grows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from bench.core.config import RunConfig
from bench.core.console import warn
from bench.core.names import editor_keys
from bench.core.numerics import Clock, now
from bench.core.published import numbers
from bench.evaluation.context import Context
from bench.evaluation.jobs import TimingJob
from bench.evaluation.timing import edit_seconds, inference_seconds, stand_ins
from bench.runner.planning import plan
from benchmarks.measure import Line, publish
from editors import registry
from editors.base import Editor, EditRequest
from editors.parts.language_model import LanguageModel

NAME = "shapes"
STORED = 10_000
REAL = 8  # edits of each editor that are computed, and repeated
BATCH = 512  # edits of one call, of editors that encode
QUERIES = 50


def shapes(args: argparse.Namespace) -> Iterator[Line]:
    """Lines of the unedited model and of every editor."""
    config = RunConfig(
        table=3,
        backbone=args.backbone,
        editors=tuple(args.editors or editor_keys()),
        edits=(1,),
        datasets=("counterfact",),
        weights="random",
        dtype=args.dtype,
        device=args.device,
        encoder=args.encoder,
    )
    loaded = Context()
    for job in plan(config, loaded).jobs:
        if isinstance(job, TimingJob):
            yield from _lines(job, loaded, args.stored)


def _lines(job: TimingJob, loaded: Context, stored: int) -> Iterator[Line]:
    cell, lm = job.cell, loaded.language_model(job)
    data = loaded.samples_of(job.stream)
    requests = [sample.request for sample in data.samples[:BATCH]]
    if cell.editor is None:
        yield from _inference("unedited", lm, requests, None, "unedited")
        return
    cls = registry.editor_class(cell.editor)
    hparams = cls.hparams_class.from_dict(cell.hparams)
    with TemporaryDirectory() as folder:
        resources = stand_ins(cls, lm, hparams, job.stream.sources, Path(folder))
        editor = cls(lm, hparams, resources)
        empty = editor.state_dict()
        if cls.family == "RB" and cls.uses_encoder:
            yield _batched(cell.editor, editor, requests)
        seconds = edit_seconds(editor, requests[:REAL]).median
        yield _line(cell.editor, "s per edit", seconds, (cls.label, "edit_time_s"))
        # Weights that were edited 10,000 times take as long as those that were eight times.
        grows = cls.family != "MP"
        subject = f"{cell.editor}, {REAL} edits"
        yield from _inference(subject, lm, requests, editor, "" if grows else cls.label)
        if grows:
            editor.load_state_dict(_repeated(empty, editor.state_dict(), stored // REAL))
            subject = f"{cell.editor}, {stored:,} edits"
            yield from _inference(subject, lm, requests, editor, cls.label)
        editor.reset()


def _inference(
    subject: str,
    lm: LanguageModel,
    requests: Sequence[EditRequest],
    editor: Editor[Any] | None,
    label: str,
) -> Iterator[Line]:
    times = inference_seconds(lm, requests, editor, queries=QUERIES, new_tokens=1)
    yield _line(subject, "s per inference", times.forward.median, (label, "infer_time_s"))
    if editor is not None:
        yield _line(subject, "inference over the unedited model's", times.overhead)


def _batched(name: str, editor: Editor[Any], requests: Sequence[EditRequest]) -> Line:
    """Seconds of an edit in a call of many."""
    editor.edit(requests[:REAL])  # warms up
    seconds = Clock(editor.lm.device).timed("edit", editor.edit, requests)
    editor.reset()
    return _line(name, f"s per edit, {len(requests)} at once", seconds / len(requests))


def _repeated(
    empty: Mapping[str, Tensor], state: Mapping[str, Tensor], times: int
) -> dict[str, Tensor]:
    """A state that repeats everything that grew with the edits."""
    grown = dict(state)
    for name, tensor in state.items():
        first = len(empty[name]) if name in empty and tensor.dim() else 0
        if tensor.dim() and len(tensor) > first:
            grown[name] = torch.cat([tensor[:first], *[tensor[first:]] * times])
    return grown


def _line(subject: str, figure: str, value: float, published: tuple[str, str] = ("", "")) -> Line:
    """A line with the published time of an editor and metric for comparison, where it exists."""
    theirs = next(
        (n.value for cell, n in numbers(3).items() if (cell.editor, cell.metric) == published), None
    )
    note = "" if theirs is None else "other side: published, on LLaMA-2-7B after 10,000 edits"
    return Line(NAME, subject, figure, value, theirs, note=note)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shapes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--backbone", required=True, metavar="DIR")
    parser.add_argument("--encoder", type=Path, metavar="DIR", help="of retrieval editors")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--editors", type=lambda text: text.split(","), metavar="A,B")
    parser.add_argument("--stored", type=int, default=STORED, metavar="N")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the lines as JSON too")
    args = parser.parse_args(arguments)
    started, lines = now(), []
    for line in shapes(args):
        warn(f"{line.subject}: {line.figure}: {line.ours:.3g}")
        lines.append(line)
    publish(lines, args.out, started=started, device=args.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())

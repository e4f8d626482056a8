"""Editors on a model of the user's own: CPU seconds of an edit, and of asking 30 questions.

    python -m benchmarks cells --backbone DIR --data-dir DIR [--editors rome,grace]

One thread works, and its CPU time is taken, which other processes disturb less than the clock. Key
statistics are stand-ins (`bench.evaluation.timing`); no editor with weights or an encoder of its
own is timed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bench.core.numerics import Clock, draw
from bench.datasets import get_dataset
from bench.evaluation.inference import BatchLimit
from bench.evaluation.probing import BARE, BlockAnswers, Prober, items_of
from bench.evaluation.timing import stand_ins
from bench.models.backbones import load, locate
from bench.models.resources import Sources
from benchmarks.measure import Line
from editors import registry
from editors.base import Editor, EditSample, TrainableEditor

ASKED = 10  # edits, and three questions about each: itself, a rephrasing and a neighbour
DATA = "counterfact"


def lines(args: argparse.Namespace) -> Iterator[Line]:
    """Lines of each editor that needs no weights of its own.

    Raises:
        ValueError: no data directory, or a model that cannot be loaded.
    """
    if args.data_dir is None:
        raise ValueError(f"--backbone wants --data-dir with the test split of {DATA}.")
    backbone = locate(args.backbone)
    lm = load(backbone)
    loaded = get_dataset(DATA).load("test", args.data_dir)
    samples = draw(loaded.samples, seed=0, limit=ASKED)
    for key in args.editors:
        cls = registry.editor_class(key)
        hparams = registry.hparams_for(key, backbone.like)
        if cls.uses_encoder or hparams.reads_corpus or issubclass(cls, TrainableEditor):
            continue
        editor = cls(lm, hparams, stand_ins(cls, lm, hparams, Sources(), Path()))
        edits, asked = [], []
        for sample in samples:
            editor.reset()
            edits.append(_seconds(editor.edit, [sample.request]))
            asked.append(_seconds(_ask, editor, [sample], BARE))
        together = _seconds(_ask, editor, samples, None)
        editor.reset()
        yield Line("cells", key, "CPU s per edit", fmean(edits[1:]))  # the first one warms up
        questions = f"CPU s of {3 * ASKED} questions"
        yield Line("cells", key, f"{questions}, teacher-forced", together)
        yield Line(
            "cells", key, f"{questions}, with free answers, of one edit at a time", sum(asked)
        )


def _ask(editor: Editor[Any], samples: Sequence[EditSample], template: str | None) -> None:
    prober = Prober(editor.lm, Clock(editor.lm.device), template, BatchLimit(64))
    items = [item for sample in samples for item in items_of(sample)]
    prober.edited(items, editor, BlockAnswers(lambda: None))


def _seconds(work: Callable[..., None], *arguments: Any) -> float:
    start = time.process_time()
    work(*arguments)
    return time.process_time() - start

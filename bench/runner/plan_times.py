"""Points of Table 3 to jobs: the unedited model, and every editor."""

from __future__ import annotations

from collections.abc import Sequence

from bench.core.grids import GridPoint
from bench.evaluation.edit_job import EditJob
from bench.evaluation.record_kinds import TIMING_VERSION, TimingCell
from bench.evaluation.timing.job import TimingJob
from bench.runner import planning
from bench.runner.planning import Settings

QUERIES = 100  # inferences that are timed (ours)
NEW_TOKENS = 20  # of the longer inference, as long as an answer may be


def plan(points: Sequence[GridPoint], settings: Settings) -> list[TimingJob]:
    """The job of the unedited model, then one for every point.

    Raises:
        ValueError: anything that cannot work; see `bench.runner.planning.plan`.
        OSError: files that are missing or cannot be read.
    """
    if settings.weights == "random" and settings.device_map is not None:
        raise ValueError(
            "Random weights are made on one device: --weights random takes no --device-map."
        )
    streams = planning.plan(points, settings)
    unedited = [_job(streams[0], edited=False)] if streams else []
    return unedited + [_job(stream, edited=True) for stream in streams]


def _job(stream: EditJob, *, edited: bool) -> TimingJob:
    cell, lent = stream.cell, stream.backbone.lent_tokenizer
    return TimingJob(
        cell=TimingCell(
            backbone=cell.backbone,
            backbone_digest=cell.backbone_digest,
            dtype=cell.dtype,
            dataset=cell.dataset,
            dataset_revision=cell.dataset_revision,
            dataset_digest=cell.dataset_digest,
            editor=cell.editor if edited else None,
            editor_version=cell.editor_version if edited else None,
            hparams=cell.hparams if edited else {},
            inputs=cell.inputs if edited else {},
            n_edits=cell.n_edits if edited else 0,
            seed=cell.seed,
            queries=QUERIES,
            new_tokens=NEW_TOKENS,
            weights=stream.backbone.weights,
            tokenizer=None if lent is None else lent.name,
            timing_version=TIMING_VERSION,
            device=stream.device.partition(":")[0],
        ),
        backbone=stream.backbone,
        device=stream.device,
        device_map=stream.device_map,
        stream=stream,
    )

"""A process that runs cells: it keeps its last backbone and data set, and writes each record."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from bench import results
from bench.backbones import load
from bench.datasets import LoadedSamples, get_dataset
from bench.driver import run_cell
from bench.planning import Job
from bench.provenance import now, provenance
from bench.resources import resources_for
from bench.results import ResultStore
from bench.rows import summarise
from editors import registry
from editors.base import Editor
from editors.parts.language_model import LanguageModel


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What the run is told of a cell; the record itself is in the store."""

    key: str
    name: str
    edits: int
    seconds: float
    error: str | None  # one line where the cell failed


class Worker:
    """Runs one cell after the other and reads every file once, as long as it serves."""

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._lm: LanguageModel | None = None
        self._lm_place: tuple[str, ...] = ()
        self._samples: dict[str, LoadedSamples] = {}

    def run(self, job: Job) -> Finished:
        """Run a cell and write its record; an exception of the cell becomes a failed record.

        Raises:
            OSError: the record cannot be written.
        """
        started, start = now(), time.perf_counter()
        edits, failure = 0, None
        try:
            body, seconds = self._results(job)
            record = results.complete(job.cell, *_circumstances(job, started, seconds), body)
            edits = body["summary"]["samples"]
        except Exception as error:  # noqa: BLE001 - whatever an editor raises: the grid goes on
            self._lm_place = ()  # a model that failed in mid-edit serves no other cell
            failure = f"{type(error).__name__}: {error}"
            record = results.failed(job.cell, *_circumstances(job, started, {}), error)
        self._store.write(record)
        return Finished(
            key=job.cell.key(),
            name=job.cell.describe(),
            edits=edits,
            seconds=time.perf_counter() - start,
            error=failure,
        )

    def _results(self, job: Job) -> tuple[dict[str, Any], dict[str, float]]:
        """What the record of a cell holds beside its circumstances, and seconds by phase."""
        start = time.perf_counter()
        editor, loaded = self._editor(job), self._loaded(job)
        seconds = {"load": time.perf_counter() - start}
        ran = run_cell(job.cell, editor, loaded.samples)
        data = {
            "rows": loaded.rows,
            "samples": len(loaded.samples),
            "skipped": dict(loaded.skipped),
            "fallbacks": dict(loaded.fallbacks),
            "trimmed": loaded.trimmed,
        }
        body = {
            "data": data,
            "summary": summarise(ran.rows),
            "health": [block.to_dict() for block in ran.health],
            "rows": ran.rows,
        }
        return body, seconds | ran.seconds

    def _editor(self, job: Job) -> Editor[Any]:
        lm, cls = self._language_model(job), registry.editor_class(job.cell.editor)
        hparams = cls.hparams_class.from_dict(job.cell.hparams)
        return cls(lm, hparams, resources_for(lm, hparams, job.sources))

    def _language_model(self, job: Job) -> LanguageModel:
        place = (job.cell.backbone_digest, job.cell.dtype, job.device, str(job.device_map))
        if self._lm is None or self._lm_place != place:
            self._lm = None  # never hold two
            self._lm = load(
                job.backbone,
                dtype=job.cell.dtype,
                device=job.device,
                device_map=job.device_map,
            )
            self._lm_place = place
        return self._lm

    def _loaded(self, job: Job) -> LoadedSamples:
        digest = job.cell.dataset_digest
        if digest not in self._samples:
            loaded = get_dataset(job.cell.dataset).load("test", job.data_dir)
            if loaded.digest != digest:
                raise ValueError(f"{loaded.path} has changed since the run was planned.")
            self._samples[digest] = loaded
        return self._samples[digest]


def _circumstances(
    job: Job, started: str, seconds: dict[str, float]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The editor's facts that tables need, and the provenance."""
    cls = registry.editor_class(job.cell.editor)
    facts = {"label": cls.label, "family": cls.family, "retrieves_text": cls.retrieves_text}
    made = provenance(torch.device(job.device), started=started, seconds=seconds)
    made |= {"backbone": str(job.backbone.directory), "data": str(job.data_dir)}
    return facts, made

"""What a worker keeps in memory: its last model, and every file it has read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.datasets import LoadedSamples, get_dataset
from bench.evaluation.caches import cached_edits
from bench.evaluation.general_ability.loading import LoadedSet, Source, load_sets
from bench.evaluation.jobs import Job
from bench.models.backbones import Fingerprint, changed, fingerprint, load
from bench.models.resources import Sources, resources_for
from editors import registry
from editors.base import Editor
from editors.parts.language_model import LanguageModel


class ResetError(RuntimeError):
    """A model is not what it was before it was edited."""


class Loaded:
    """Reads every file once, as long as it lives."""

    def __init__(self) -> None:
        self._lm: LanguageModel | None = None
        self._lm_place: tuple[str, ...] = ()
        self._pristine: Fingerprint = {}
        self._samples: dict[str, LoadedSamples] = {}
        self._sets: dict[Source, dict[str, LoadedSet]] = {}

    def forget_model(self) -> None:
        """Load the model anew for the next job: one that failed in mid-edit serves no other."""
        self._lm_place = ()

    def language_model(self, job: Job, dtype: str | None = None) -> LanguageModel:
        """The job's backbone, as it was loaded; in the job's dtype where no other is named."""
        dtype = dtype or job.cell.dtype
        place = (job.backbone.digest, dtype, job.device, str(job.device_map))
        if self._lm is None or self._lm_place != place:
            self._lm = None  # never hold two
            self._lm = load(job.backbone, dtype=dtype, device=job.device, device_map=job.device_map)
            self._pristine = fingerprint(self._lm.model)
            self._lm_place = place
        return self._lm

    def check_reset(self) -> None:
        """Refuse a model that is not bit for bit the one that was loaded.

        Raises:
            ResetError: weights or buffers have changed; some of them are named.
        """
        if self._lm is None or not self._lm_place:
            return
        names = changed(self._pristine, fingerprint(self._lm.model))
        if names:
            raise ResetError(
                f"reset did not restore {len(names)} tensors of {self._lm.name}: "
                f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}."
            )

    def editor(
        self,
        lm: LanguageModel,
        key: str,
        hparams: Mapping[str, Any],
        sources: Sources,
        *,
        keep: bool,
    ) -> Editor[Any]:
        """A fresh editor of a model that holds no edits.

        With `keep`, edits that were made before are not made again, where the editor allows it.
        """
        cls = registry.editor_class(key)
        made = cls.hparams_class.from_dict(hparams)
        resources = resources_for(lm, made, sources)
        if keep:
            kept = cached_edits(lm, key, made, sources.digests())
            resources = replace(resources, edit_cache=kept)
        return cls(lm, made, resources)

    def samples(self, dataset: str, directory: Path, digest: str) -> LoadedSamples:
        """The test split of a data set.

        Raises:
            ValueError: the file is no longer the one of that digest.
        """
        if digest not in self._samples:
            found = get_dataset(dataset).load("test", directory)
            if found.digest != digest:
                raise ValueError(f"{found.path} has changed since the run was planned.")
            self._samples[digest] = found
        return self._samples[digest]

    def ability_sets(self, source: Source, digests: Mapping[str, str]) -> dict[str, LoadedSet]:
        """The general-ability sets of a source.

        Raises:
            ValueError: a set is no longer the one of its digest.
        """
        if source not in self._sets:
            self._sets[source] = load_sets(source)
        sets = self._sets[source]
        changed = [key for key in sets if sets[key].digest != digests[key]]
        if changed:
            raise ValueError(
                f"{', '.join(changed)} from {source.name} changed since the run was planned."
            )
        return sets

"""What a process holds in memory for its cells: its last model, and every file it has read.

Importing this module imports no torch: a plan reads its files through the same `Context`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.cells import Generation
from bench.datasets import LoadedSamples, get_dataset
from bench.evaluation.general_ability.sets import LoadedSet, Source, load_sets
from bench.evaluation.jobs import EditJob, Job
from bench.evaluation.metrics import CONTEXT_GUIDED, MAX_ANSWER_TOKENS
from bench.models.backbones import Backbone, load
from bench.models.fitting import fitting
from bench.models.resources import Sources, resources_for
from editors import registry

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from editors.base import Editor
    from editors.parts.language_model import LanguageModel

_CHUNK = 1 << 20  # elements summed at once: a checksum takes the memory of a few of these

# By tensor name: dtype, shape, and a sum modulo 2^64 of every chunk.
Fingerprint = dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]]


class ResetError(RuntimeError):
    """A model is not what it was before it was edited."""


class Context:
    """Reads every file once, as long as it lives. The plan of a run reads through it too."""

    def __init__(self) -> None:
        self._lm: LanguageModel | None = None
        self._lm_key: tuple[str, ...] = ()
        self._pristine: Fingerprint = {}
        self._samples: dict[tuple[str, Path], LoadedSamples] = {}
        self._fitting: dict[tuple[str, ...], LoadedSamples] = {}
        self._sets: dict[Source, dict[str, LoadedSet]] = {}

    def forget_model(self) -> None:
        """Load the model again for the next job: a failed job may have changed it."""
        self._lm_key = ()

    def language_model(self, job: Job, dtype: str | None = None) -> LanguageModel:
        """The job's backbone, as it was loaded; in the job's dtype where no other is named."""
        dtype = dtype or job.cell.dtype
        key = (job.backbone.digest, dtype, job.device, str(job.device_map))
        if self._lm is None or self._lm_key != key:
            self._lm = None  # never hold two
            self._lm = load(job.backbone, dtype=dtype, device=job.device, device_map=job.device_map)
            self._pristine = fingerprint(self._lm.model)
            self._lm_key = key
        return self._lm

    @property
    def facts(self) -> dict[str, Any]:
        """What a record's provenance says of the model that was loaded last."""
        return {} if self._lm is None else {"special_tokens": self._lm.special.facts()}

    def check_reset(self) -> None:
        """Refuse a model that is not bit for bit what was loaded: ResetError names tensors."""
        if self._lm is None or not self._lm_key:
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
        cached: bool = True,
    ) -> Editor[Any]:
        """A fresh editor of a model without edits; edits in the cache need not be recomputed."""
        from bench.evaluation.caches import cached_edits

        cls = registry.editor_class(key)
        values = cls.hparams_class.from_dict(hparams)
        resources = resources_for(lm, values, sources)
        if cached:
            cache = cached_edits(lm, key, values, sources.digests())
            resources = replace(resources, edit_cache=cache)
        return cls(lm, values, resources)

    def samples(
        self, dataset: str, directory: Path, backbone: Backbone, generation: Generation
    ) -> LoadedSamples:
        """The rows of the test split of a data set that fit the context of a backbone."""
        key = dataset, directory
        if key not in self._samples:
            self._samples[key] = get_dataset(dataset).load("test", directory)
        loaded = self._samples[key]
        fitted = dataset, str(directory), loaded.digest, backbone.digest, generation
        if fitted not in self._fitting:
            template = CONTEXT_GUIDED if generation == "context_guided" else "{}"
            fits = fitting(loaded, backbone, template=template, new_tokens=MAX_ANSWER_TOKENS)
            self._fitting[fitted] = fits
        return self._fitting[fitted]

    def samples_of(self, job: EditJob) -> LoadedSamples:
        """The samples of a job; ValueError if the file has another digest."""
        cell = job.cell
        loaded = self.samples(cell.dataset, job.data_dir, job.backbone, cell.generation)
        if loaded.digest != cell.dataset_digest:
            del self._samples[cell.dataset, job.data_dir]
            raise ValueError(f"{loaded.path} has changed since the run was planned.")
        return loaded

    def ability_sets(
        self, source: Source, digests: Mapping[str, str] | None = None
    ) -> dict[str, LoadedSet]:
        """The general-ability sets of a source; ValueError if one has another digest."""
        if source not in self._sets:
            self._sets[source] = load_sets(source)
        sets = self._sets[source]
        changed = [key for key in sets if digests and sets[key].digest != digests[key]]
        if changed:
            raise ValueError(
                f"{', '.join(changed)} from {source.name} changed since the run was planned."
            )
        return sets


# ---- fingerprints: exact checksums of a model's weights that are cheap to repeat ----------------


def fingerprint(model: nn.Module) -> Fingerprint:
    """Checksums of all parameters and buffers, over their bits, computed on their devices.

    A chunk's sum is that of its elements' bits times odd numbers that depend on the place: a change
    of one element always shows, and one of several is missed with a chance of about 2^-60.
    """
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: (str(t.dtype), tuple(t.shape), _sums(t)) for name, t in tensors}


def changed(before: Fingerprint, after: Fingerprint) -> list[str]:
    """Names of tensors that differ, are new, or are gone."""
    return sorted(n for n in before | after if before.get(n) != after.get(n))


def _sums(tensor: Tensor) -> tuple[int, ...]:
    import torch

    of_size = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    bits = tensor.detach().reshape(-1).view(of_size[tensor.element_size()])
    odd = _odd_numbers(tensor.device)
    sums = [(chunk.to(torch.int64) * odd[: len(chunk)]).sum() for chunk in bits.split(_CHUNK)]
    return tuple(torch.stack(sums).tolist())


@cache
def _odd_numbers(device: torch.device) -> Tensor:
    """[_CHUNK] odd numbers of 64 bits, always the same."""
    import torch

    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(-(2**62), 2**62, (_CHUNK,), generator=generator, dtype=torch.int64)
    return (2 * drawn + 1).to(device)

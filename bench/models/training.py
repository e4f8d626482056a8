"""Training an editor's own weights: for `train`, and for `run` where it first needs them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.core.console import warn
from bench.core.events import SILENT, EventLog
from bench.core.files import digest_of_file, is_reported, report_of, write_text
from bench.core.names import DATASETS, ENCODER
from bench.core.progress import StopFlag, StoppedEarly, show_steps
from bench.datasets import get_dataset
from bench.models.backbones import EMBEDDED, Backbone
from bench.models.fitting import fitting
from bench.models.resources import digest_of_encoder
from bench.world.store import DATA_VERSION, assets_dir, cache_root, data_dir
from editors import registry

if TYPE_CHECKING:
    from editors.base import EditSample, Hparams, TrainableEditor
    from editors.parts.language_model import LanguageModel

    Samples = Mapping[str, tuple[EditSample, ...]]

REPORT_SCHEMA = 1  # of the report beside trained weights


class Artefact(NamedTuple):
    """Trained weights of an editor."""

    path: Path
    header: Mapping[str, Any]
    seconds: float  # of training


def is_trainable(name: str) -> bool:
    """Whether an editor has weights of its own to train."""
    from editors.base import TrainableEditor

    return issubclass(registry.editor_class(name), TrainableEditor)


def trainable(name: str) -> type[TrainableEditor[Any]]:
    """The class of an editor that has weights to train; ValueError for any other."""
    from editors.base import TrainableEditor

    cls = registry.editor_class(name)
    if not issubclass(cls, TrainableEditor):
        classes = {key: registry.editor_class(key) for key in registry.shipped()}
        others = [key for key, other in classes.items() if issubclass(other, TrainableEditor)]
        raise ValueError(f"{cls.label} has no weights to train. Trainable: {', '.join(others)}.")
    return cls


def train_artefact(
    key: str,
    lm: LanguageModel,
    samples: Samples,
    hparams: Hparams,
    *,
    encoder: Path | None,
    path: Path,
    seed: int = 0,
    log: EventLog = SILENT,
    stop: StopFlag | None = None,
) -> Artefact:
    """Train an editor's weights on the samples of each data set and write a report beside them.

    Existing weights of the same settings are not trained again, and their report stays.
    StoppedEarly on request, after a step; training again continues from there.
    """
    from bench.core.numerics import now, provenance
    from editors.base import Resources
    from editors.parts.artefact import read_header

    report_path, existed = report_of(path), path.exists()
    started, start = now(), time.perf_counter()
    with show_steps(log) as show:

        def progress(numbers: Mapping[str, float]) -> None:
            show(numbers)
            if stop is not None and stop.stop_requested():
                raise StoppedEarly

        resources = Resources(encoder=encoder, seed=seed)
        path = trainable(key).fit(
            lm, samples, hparams, resources, out=path.parent, progress=progress
        )
    seconds = time.perf_counter() - start
    header = read_header(path)
    if existed and report_path.exists() and is_reported(path):
        earlier = json.loads(report_path.read_text("utf-8"))["provenance"]["seconds"]["train"]
        return Artefact(path=path, header=header, seconds=earlier)
    report = {
        "schema": REPORT_SCHEMA,
        "artefact": {"file": path.name, "sha256": digest_of_file(path)},
        "provenance": provenance(lm.device, started=started, seconds={"train": seconds}),
        # Training selects among its checkpoints alone; the other hyper-parameters are the preset's.
        "search_space": {"iteration": [entry["iteration"] for entry in header.get("history", [])]},
        **header,
    }
    write_text(report_path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return Artefact(path=path, header=header, seconds=seconds)


def training_samples(
    names: Sequence[str], directory: Path, backbone: Backbone | None = None
) -> dict[str, tuple[EditSample, ...]]:
    """Samples of the training split by data set, with a warning for skipped rows.

    Rows that do not fit the context of a `backbone` are among the skipped ones.
    """
    samples = {}
    for dataset in map(get_dataset, names):
        loaded = dataset.load("train", dataset.directory("train", directory))
        loaded = loaded if backbone is None else fitting(loaded, backbone)
        for note in loaded.notes():
            warn(f"{dataset.key}: {note}")
        samples[dataset.key] = loaded.samples
    return samples


# ---- training in `run` -------------------------------------------------------------------------


def trains_on_first_use(editor: str, backbone: str) -> bool:
    """Whether `run` may train the weights itself: minutes, on a miniature backbone."""
    from editors.base import TrainableEditor

    cls = registry.editor_class(editor)
    return backbone in EMBEDDED and issubclass(cls, TrainableEditor) and cls.quick


def first_use_directory(
    editor: str,
    backbone: Backbone,
    hparams: Hparams,
    world_seed: int,
    encoder: Path | None = None,
    *,
    dtype: str,
    seed: int = 0,
) -> Path:
    """The folder of weights that `run` trained: one for each combination of their inputs."""
    source = registry.source_of(editor)
    identity = [
        editor, registry.editor_class(editor).version, backbone.digest, dtype, hparams.to_dict(),
        DATA_VERSION, encoder and _encoder_of_training(encoder, world_seed),
        *([] if source is None else [source]),
        *([{"seed": seed}] if seed else []),
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return cache_root() / f"world-{world_seed}" / "artefacts" / digest[:16]


def _encoder_of_training(encoder: Path, world_seed: int) -> str:
    """What distinguishes an encoder; the shipped one is known by its weights."""
    if encoder == assets_dir(world_seed, ENCODER) / ENCODER:
        return digest_of_file(encoder / "model.safetensors")
    return digest_of_encoder(encoder)


def train_on_first_use(
    editor: str,
    lm: LanguageModel,
    hparams: Hparams,
    directory: Path,
    world_seed: int,
    encoder: Path | None = None,
    seed: int = 0,
) -> None:
    """Train an editor on the embedded world's three training sets into `directory`."""
    from editors.parts.artefact import artefact_path

    label = registry.describe(editor).label
    warn(f"{label} has no weights for {lm.name} yet: training them once, which takes minutes.")
    samples = training_samples(DATASETS, data_dir(world_seed))
    path = artefact_path(directory, editor, lm.name, list(samples))
    artefact = train_artefact(editor, lm, samples, hparams, encoder=encoder, path=path, seed=seed)
    warn(f"{artefact.path}: {artefact.seconds / 60:.1f} minutes")

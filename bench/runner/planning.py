"""Points of a grid to cells that can be run: names become digests, versions, hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.core.cells import Cell, Generation, check_counts
from bench.core.grids import (
    RECIPE,
    UNDEFINED,
    GridPoint,
    Preset,
    Selection,
    Table,
    default_limit,
    variant,
)
from bench.core.names import editor_keys
from bench.datasets import LoadedSamples, dataset_keys, get_dataset
from bench.datasets.plugins import source_digests
from bench.evaluation import metrics
from bench.evaluation.edit_job import EditJob
from bench.evaluation.metric_sets import identities
from bench.models.artefacts import first_use_directory, train_on_first_use, trains_on_first_use
from bench.models.backbones import HUB_IDS, Backbone, DeviceMap, Weights, check_device, load, locate
from bench.models.corpora import MeasureInputs
from bench.models.key_statistics import context_templates, has_templates, identity, templates_path
from bench.models.resources import (
    SourceOptions,
    Sources,
    UntrainedEditorError,
    encoder_directory,
    sources_for,
    untrained_sources,
)
from bench.world.store import NotBuiltError
from editors import registry
from editors.base import Hparams


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What holds for a whole run."""

    preset: Preset = "embedded"
    world_seed: int = 0
    data_dir: Path | None = None  # real files; None takes the embedded world's
    corpus: str | None = None  # of key statistics; None takes what belongs to the backbone
    documents: int | None = None  # of the corpus
    encoder: str | None = None  # of retrieval editors; None takes what belongs to the backbone
    weights: Weights = "trained"  # of backbone and editors; random ones are for times alone
    dtype: str = "float32"
    device: str = "cpu"
    device_map: DeviceMap | None = None
    generation: Generation = "context_free"
    measures: tuple[str, ...] = ()  # names of optional metric sets
    measure_text: str | None = None  # a corpus; None takes the embedded world's
    # By editor key: what differs from its preset.
    hparams: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def points(table: Table, selection: Selection) -> tuple[GridPoint, ...]:
    """The table's selected cells in its own order: edits, editors, data sets, seeds.

    Raises:
        ValueError: unknown names, impossible counts, or nothing left to run.
    """
    backbone = selection.backbone or table.backbones[selection.preset]
    found = tuple(_points(table, selection, backbone, table.variants))
    if table.control and backbone == table.backbones["embedded"]:
        found += tuple(_points(table, selection, table.control, table.controlled))
    if not found:
        raise ValueError(
            f"Table {table.number} has no cell for this selection: "
            "RippleEdits has too few samples for 10,000 edits."
        )
    return found


def _points(
    table: Table, selection: Selection, backbone: str, variants: Sequence[str | None]
) -> Iterator[GridPoint]:
    editors = editor_keys(selection.editors or table.editors, recent=selection.recent)
    datasets = dataset_keys(selection.datasets or table.datasets)
    for n_edits in sorted(set(selection.edits or table.edits[selection.preset])):
        limit = selection.limit or default_limit(selection.preset, n_edits)
        for seed in selection.seeds:
            check_counts(n_edits=n_edits, limit=limit, seed=seed)
        yield from (
            GridPoint(
                backbone=backbone,
                editor=editor,
                dataset=dataset,
                n_edits=n_edits,
                seed=seed,
                limit=limit,
                variant=variant,
            )
            for editor in editors
            for variant in (variants if editor == RECIPE else (None,))
            for dataset in datasets
            if (dataset, n_edits) not in UNDEFINED
            for seed in selection.seeds
        )


def plan(points: Sequence[GridPoint], settings: Settings) -> list[EditJob]:
    """A job for every point, in order; everything that can be refused is refused here.

    Raises:
        ValueError: a backbone, data file, editor or number of samples that cannot work.
        OSError: files that are missing or cannot be read.
    """
    check_device(settings.device)
    check_hparams(points, settings)
    planner = _Planner(settings)
    return [planner.job(point) for point in points]


def editor_inputs(point: GridPoint, settings: Settings) -> tuple[Backbone, Hparams, Sources]:
    """What the editor of a point is made from, where no cell is run with it.

    Raises:
        ValueError: a backbone, editor or data that a run could not have either.
        OSError: files that are missing or cannot be read.
    """
    check_device(settings.device)
    check_hparams([point], settings)
    planner = _Planner(settings)
    backbone = planner.backbone(point.backbone)
    hparams = hparams_of(point, backbone.name, settings)
    if hparams.reads_training:
        planner.data_directory()
    return backbone, hparams, planner.sources(point)


def check_hparams(points: Sequence[GridPoint], settings: Settings) -> list[Hparams]:
    """Hyper-parameters with the run's changes, of the editors that have any.

    Raises:
        ValueError: an editor that is not there, or a name or value that it does not take.
    """
    present = {point.editor: point.backbone for point in points}
    changed = []
    for editor, changes in settings.hparams.items():
        if editor not in present:
            raise ValueError(
                f"--hparam changes {registry.describe(editor).label}, which is not among the "
                f"editors of this run: {', '.join(sorted(present))}."
            )
        changed.append(_changed(registry.hparams_for(editor, present[editor]), changes))
    return changed


def hparams_of(point: GridPoint, backbone: str, settings: Settings) -> Hparams:
    """The preset of a backbone with what the point's variant is, and what the user changed."""
    preset = registry.hparams_for(point.editor, backbone)
    varied = {} if point.variant is None else variant(point.variant).hparams
    return _changed(preset, {**varied, **settings.hparams.get(point.editor, {})})


def _changed(preset: Hparams, changes: Mapping[str, Any]) -> Hparams:
    return type(preset).from_dict(preset.to_dict() | dict(changes)) if changes else preset


def trained_points(
    points: Sequence[GridPoint], settings: Settings, *, named: bool
) -> tuple[list[GridPoint], list[str]]:
    """The points that can be run or must be, and why the others are left out.

    A table is printed without the rows of editors that lack trained weights, unless they were
    `named`; a variant that lacks them is left out in any case, and so is a second backbone that has
    not been built.
    """
    planner, kept, reasons = _Planner(settings), [], []
    for point in points:
        if named and point.variant is None:
            kept.append(point)
            continue
        try:
            planner.sources(point)
            kept.append(point)
        except UntrainedEditorError as error:
            reasons.append(str(error))
        except NotBuiltError as error:
            if point.backbone == points[0].backbone:
                raise
            reasons.append(str(error))
    return kept, list(dict.fromkeys(reasons))


def train_missing(points: Sequence[GridPoint], settings: Settings) -> None:
    """Train what is missing and takes minutes on a miniature backbone, on its training edits."""
    planner = _Planner(settings)
    if settings.preset != "embedded" or settings.data_dir is not None:
        return
    if settings.weights == "random":
        return
    for point in points:
        if not trains_on_first_use(point.editor, point.backbone):
            continue
        try:
            planner.sources(point)
        except UntrainedEditorError:
            planner.train(point)


class _Planner:
    """Reads every backbone's and data set's files once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.backbone = cache(self._backbone)
        self.samples = cache(self._samples)
        self.templates = cache(self._templates)
        self.measures = cache(self._measures)

    def job(self, point: GridPoint) -> EditJob:
        backbone, loaded = self.backbone(point.backbone), self.samples(point.dataset)
        count = len(loaded.samples)
        if count < point.n_edits:
            raise ValueError(
                f"Data set {point.dataset} has {count:,} samples in {loaded.path}, "
                f"but {point.n_edits:,} sequential edits need as many."
            )
        hparams = self._hparams(point, backbone.name)
        sources = self.sources(point)
        if self.settings.weights == "trained":
            templates = self.templates(backbone, hparams.template_lengths)
            sources = replace(sources, templates=templates)
        return EditJob(
            cell=self._cell(point, backbone, loaded, hparams, sources),
            backbone=backbone,
            sources=sources,
            data_dir=self._data_dir(point.dataset),
            inputs=self._inputs(),
            device=self.settings.device,
            device_map=self.settings.device_map,
        )

    def sources(self, point: GridPoint) -> Sources:
        """The files that the point's editor needs."""
        settings, name = self.settings, self.backbone(point.backbone).name
        options = SourceOptions(
            data_dir=settings.data_dir,
            corpus=settings.corpus,
            documents=settings.documents,
            encoder=settings.encoder,
            changed=self._changes(point, name),
            world_seed=settings.world_seed,
        )
        hparams = self._hparams(point, name)
        if settings.weights == "random":
            return untrained_sources(
                point.editor, name, hparams, dataset=point.dataset, options=options
            )
        options = replace(options, artefacts=self._first_use(point))
        return sources_for(point.editor, name, hparams, dataset=point.dataset, options=options)

    def train(self, point: GridPoint) -> None:
        """Make the weights that the point's editor lacks."""
        backbone, settings = self.backbone(point.backbone), self.settings
        lm = load(backbone, dtype=settings.dtype, device=settings.device)
        hparams, encoder = self._hparams(point, backbone.name), self._encoder(point)
        directory = self._weights_of_first_use(point)
        train_on_first_use(point.editor, lm, hparams, directory, settings.world_seed, encoder)

    def _hparams(self, point: GridPoint, backbone: str) -> Hparams:
        return hparams_of(point, backbone, self.settings)

    def _changes(self, point: GridPoint, backbone: str) -> frozenset[str]:
        """Names of hyper-parameters that are not the preset's."""
        preset = registry.hparams_for(point.editor, backbone).to_dict()
        wanted = self._hparams(point, backbone).to_dict()
        return frozenset(name for name in wanted if wanted[name] != preset.get(name))

    def _first_use(self, point: GridPoint) -> Path | None:
        if not trains_on_first_use(point.editor, point.backbone):
            return None
        return self._weights_of_first_use(point)

    def _weights_of_first_use(self, point: GridPoint) -> Path:
        backbone = self.backbone(point.backbone)
        hparams = self._hparams(point, backbone.name)
        return first_use_directory(
            point.editor,
            backbone,
            hparams,
            self.settings.world_seed,
            self._encoder(point),
            dtype=self.settings.dtype,
        )

    def _encoder(self, point: GridPoint) -> Path | None:
        """The sentence encoder of an editor that has one."""
        settings = self.settings
        if not registry.editor_class(point.editor).uses_encoder:
            return None
        hub = self.backbone(point.backbone).name in HUB_IDS
        return encoder_directory(settings.encoder, hub=hub, world_seed=settings.world_seed)

    def _cell(
        self,
        point: GridPoint,
        backbone: Backbone,
        loaded: LoadedSamples,
        hparams: Hparams,
        sources: Sources,
    ) -> Cell:
        return Cell(
            backbone=backbone.name,
            backbone_digest=backbone.digest,
            dtype=self.settings.dtype,
            dataset=point.dataset,
            dataset_revision=self._revision(point.dataset, loaded.digest),
            dataset_digest=loaded.digest,
            editor=point.editor,
            editor_version=registry.editor_class(point.editor).version,
            hparams=hparams.to_dict(),
            inputs=sources.digests() | source_digests(point.editor, point.dataset),
            n_edits=point.n_edits,
            seed=point.seed,
            limit=point.limit,
            metric_version=metrics.PROTOCOL_VERSION,
            generation=self.settings.generation,
            measures=self.measures(),
        )

    def _inputs(self) -> MeasureInputs:
        """What metric sets read; real data are of no world."""
        settings = self.settings
        made = settings.preset == "embedded" and settings.data_dir is None
        return MeasureInputs(
            world_seed=settings.world_seed if made else None, text=settings.measure_text
        )

    def _measures(self) -> Mapping[str, str]:
        return identities(self.settings.measures, self._inputs())

    def _backbone(self, name: str) -> Backbone:
        return locate(
            name,
            world_seed=self.settings.world_seed,
            hub=self.settings.preset == "paper",
            weights=self.settings.weights,
        )

    def _templates(self, backbone: Backbone, lengths: tuple[int, ...]) -> Path | None:
        """The context templates of a backbone, which its model writes the first time."""
        if not lengths:
            return None
        settings = self.settings
        path = templates_path(identity(backbone.digest, settings.dtype), lengths)
        if not has_templates(path):
            lm = load(
                backbone,
                dtype=settings.dtype,
                device=settings.device,
                device_map=settings.device_map,
            )
            context_templates(lm, lengths)
        return path

    def _samples(self, dataset: str) -> LoadedSamples:
        return get_dataset(dataset).load("test", self._data_dir(dataset))

    def _revision(self, dataset: str, digest: str) -> str:
        """The published revision only where the file is the published one."""
        declared = get_dataset(dataset)
        if self.settings.data_dir is None and declared.home is None:
            return f"embedded world {self.settings.world_seed}"
        published = digest == declared.files["test"].git_blob
        return f"published {declared.revision[:8]}" if published else f"local file {digest[:8]}"

    def _data_dir(self, dataset: str) -> Path:
        declared = get_dataset(dataset)
        if declared.home is not None and self.settings.data_dir is None:
            return declared.home
        return declared.directory("test", self.data_directory())

    def data_directory(self) -> Path:
        """Where the data sets of the package are."""
        if self.settings.data_dir is not None:
            return self.settings.data_dir
        if self.settings.preset == "paper":
            raise ValueError(
                "The paper preset needs the original data sets; give their directory with "
                "--data-dir (python -m bench data show zsre says where to get them)."
            )
        from bench.world.store import data_dir

        return data_dir(self.settings.world_seed)

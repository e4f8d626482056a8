"""`plan`: from a `RunConfig` to jobs. Names become digests, versions and hyper-parameters, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from bench.core.cells import Cell, check_counts
from bench.core.config import RunConfig, option
from bench.core.grids import (
    RECIPE,
    UNDEFINED,
    GridPoint,
    Table,
    default_limit,
    drawing,
    get_table,
    variant,
)
from bench.core.names import editor_keys, unknown_name
from bench.core.progress import show_busy
from bench.datasets import LoadedSamples, dataset_keys, get_dataset, source_digests
from bench.datasets.base import OF_SUBJECT
from bench.evaluation import metrics
from bench.evaluation.context import Context
from bench.evaluation.jobs import EditJob, Job
from bench.evaluation.metric_sets import MeasureInputs, available, get_set, identities
from bench.models.backbones import (
    EMBEDDED,
    UNKNOWN,
    Backbone,
    check_device,
    check_layers,
    like,
    load,
    locate,
)
from bench.models.key_statistics import (
    check_text,
    context_templates,
    has_templates,
    identity,
    templates_path,
)
from bench.models.resources import (
    Sources,
    UntrainedEditorError,
    check_real_data,
    corpus_named,
    encoder_named,
    encoder_of,
    sources_for,
)
from bench.models.training import (
    first_use_directory,
    is_trainable,
    train_on_first_use,
    trains_on_first_use,
)
from bench.runner.kinds import KINDS, TEXT_SET
from bench.world.store import NotBuiltError
from editors import registry
from editors.base import Hparams

HPARAM_FORM = "EDITOR.NAME=VALUE or EDITOR=PRESET"
Changes = Mapping[str, Mapping[str, Any]]  # of hyper-parameters, by editor key


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The jobs of a selection, in the order of its table."""

    table: Table
    jobs: Sequence[Job]
    left_out: Sequence[str] = ()  # why parts of it have no job; each names what makes them possible
    notes: Sequence[str] = ()  # what of the data is skipped or changed


def check_taken(table: Table, config: RunConfig, views: Sequence[str] = ()) -> None:
    """Refuse options that would do nothing."""
    usual = RunConfig(preset=config.preset)
    for name, reason in KINDS[table.measures].refused.items():
        if name in views or vars(config).get(name) != vars(usual).get(name):
            raise ValueError(f"Table {table.number} takes no {option(name)}: {reason}.")
    if config.measure_text and TEXT_SET not in config.measure:
        raise ValueError(f"--measure-text is the text of --measure {TEXT_SET} alone.")


def points(config: RunConfig) -> tuple[GridPoint, ...]:
    """The selected cells by name, in the order of the table: edits, editors, data sets, seeds.

    Raises:
        ValueError: unknown names, impossible counts, options that the table does not take, or
            nothing left to run.
    """
    table = get_table(config.table)
    check_taken(table, config)
    for name in config.measure:
        if name not in available():
            raise unknown_name("metric set", name, available())
    backbone = config.backbone or table.backbones[config.preset]
    chosen = tuple(_points(table, config, backbone, table.variants))
    if table.control and backbone == table.backbones["embedded"]:
        chosen += tuple(_points(table, config, table.control, table.controlled))
    if not chosen:
        raise ValueError(
            f"Table {table.number} has no cell for this selection: "
            "RippleEdits has too few samples for 10,000 edits."
        )
    _check_batches(config, chosen)
    return chosen


def _check_batches(config: RunConfig, points: Sequence[GridPoint]) -> None:
    """Refuse batches of editors that write one edit after another, and looks inside of a batch."""
    size = config.batch_per_step
    if size == 1:
        return
    editors = dict.fromkeys(point.editor for point in points)
    one_by_one = [key for key in editors if not registry.editor_class(key).edits_batches]
    if one_by_one:
        batches = [key for key in registry.available() if registry.editor_class(key).edits_batches]
        raise ValueError(
            f"--batch-per-step {size}: {', '.join(one_by_one)} would write one edit after another "
            f"all the same. Available: {', '.join(batches)}."
        )
    for name in config.measure:
        for n_edits in dict.fromkeys(point.n_edits for point in points):
            inside = [n for n in get_set(name).stages(n_edits) if n % size and n != n_edits]
            if inside:
                raise ValueError(
                    f"--measure {name} looks at the model after {min(inside)} edits, which is "
                    f"inside a batch of --batch-per-step {size}."
                )


def _points(
    table: Table, config: RunConfig, backbone: str, variants: Sequence[str | None]
) -> Iterator[GridPoint]:
    editors = editor_keys(config.editors or table.editors, recent=config.recent)
    datasets = dataset_keys(config.datasets or table.datasets)
    for n_edits in sorted(set(config.edits or table.edits[config.preset])):
        limit = config.limit or default_limit(config.preset, n_edits)
        check_counts(n_edits=n_edits, limit=limit, seed=0)
        yield from (
            GridPoint(backbone, editor, dataset, n_edits, seed, limit, variant)
            for editor in editors
            for variant in (variants if editor == RECIPE else (None,))
            for dataset in datasets
            if (dataset, n_edits) not in UNDEFINED
            for seed in _seeds(config, editor)
        )


def _seeds(config: RunConfig, editor: str) -> tuple[int, ...]:
    """Training seeds are those of editors with weights of their own; others have one result."""
    seeds = config.named_seeds
    return seeds if config.vary != "training" or is_trainable(editor) else seeds[:1]


def plan(config: RunConfig, context: Context | None = None) -> Plan:
    """A job for every selected cell; everything that can be refused is refused here.

    Editors whose weights are missing and take minutes to train are trained first. A table has no
    rows of other editors that lack trained weights, unless they were named; a variant that lacks
    them is left out in any case, and so is a second backbone that has not been built.

    `context` reads the files: who runs the jobs in this process need not read them again.

    Raises:
        ValueError: a selection, backbone, data file or number of samples that cannot work.
        OSError: files that are missing or cannot be read.
    """
    chosen, planner = points(config), Planner(config, context)
    check_hparams(config, chosen, installed=True)
    planner.train_missing(chosen)
    return planner.plan(chosen, named=config.editors is not None)


def hparam_changes(config: RunConfig) -> Changes:
    """Hyper-parameters by editor key; those of a named preset come first."""
    presets: dict[str, dict[str, Any]] = {}
    changes: dict[str, dict[str, Any]] = {}
    for name, value in config.hparams.items():
        editor, dot, field = str(name).partition(".")
        if not editor or (dot and not field):
            raise ValueError(f"--hparam takes {HPARAM_FORM}, got {f'{name}={value}'!r}.")
        key = registry.resolve(editor)
        if (field in changes.get(key, {})) if dot else (key in presets):
            raise ValueError(f"--hparam names {registry.describe(key).label} {field} twice.")
        if dot:
            changes.setdefault(key, {})[field] = value
        else:
            presets[key] = registry.preset_of(key, str(value)).to_dict()
    return {key: presets.get(key, {}) | changes.get(key, {}) for key in presets | changes}


def check_hparams(
    config: RunConfig, points: Sequence[GridPoint], *, installed: bool = False
) -> None:
    """Refuse changes that no editor takes, or that want a package that is not `installed`."""
    present = {point.editor: point.backbone for point in points}
    for editor in config.encoders:
        if editor not in present or not registry.editor_class(editor).uses_encoder:
            raise ValueError(
                f"--encoder names one for {registry.describe(editor).label}, which is not among "
                "the editors of this run that use a sentence encoder."
            )
    for editor, values in hparam_changes(config).items():
        if editor not in present:
            raise ValueError(
                f"--hparam changes {registry.describe(editor).label}, which is not among the "
                f"editors of this run: {', '.join(sorted(present))}."
            )
        hparams = _changed(registry.hparams_for(editor, present[editor], config.bundle), values)
        if installed:
            hparams.check_installed()


def hparams_of(
    point: GridPoint, backbone: str, changes: Changes, bundle: registry.Bundle
) -> Hparams:
    """The preset of a backbone with what the point's variant is, and what the user changed."""
    preset = registry.hparams_for(point.editor, backbone, bundle)
    varied = {} if point.variant is None else variant(point.variant).hparams
    return _changed(preset, {**varied, **changes.get(point.editor, {})})


def _changed(preset: Hparams, changes: Mapping[str, Any]) -> Hparams:
    return type(preset).from_dict(preset.to_dict() | dict(changes)) if changes else preset


def editor_inputs(config: RunConfig) -> tuple[str, Backbone, Hparams, Sources]:
    """Key, backbone, hyper-parameters and files of the editor of a selection of one cell."""
    (point,) = points(config)
    planner = Planner(config)
    planner.train_missing([point])
    check_device(config.device)
    check_hparams(config, [point], installed=True)
    hparams, backbone = planner.hparams(point), planner.backbone(point.backbone)
    if hparams.reads_training:
        planner.check_data(point.dataset, backbone)
        planner.data_directory()
    return point.editor, backbone, hparams, planner.sources(point)


def settings(config: RunConfig, points: Sequence[GridPoint]) -> Iterator[str]:
    """A line for each backbone and editor: its preset, and the corpus and encoder it would read."""
    changes, named = hparam_changes(config), dict(map(_named_preset, config.hparams.items()))
    for backbone, editor in dict.fromkeys((point.backbone, point.editor) for point in points):
        known, cls = like(backbone), registry.editor_class(editor)
        own = known.removesuffix(registry.CONTROL_SUFFIX)
        preset = named.get(editor) or (own if own in cls.presets else UNKNOWN)
        hparams = _changed(
            registry.hparams_for(editor, known, config.bundle), changes.get(editor, {})
        )
        corpus = encoder = "none"
        if hparams.uses_covariance or hparams.reads_corpus:
            lines = not hparams.uses_covariance
            own = "the embedded world's" if known in EMBEDDED else "the training splits'"
            corpus = corpus_named(known, config, lines=lines) or own
        if cls.uses_encoder:
            encoder = encoder_named(editor, known, config)
        yield (
            f"{backbone}  {cls.label}: preset {preset}, bundle {config.bundle}, corpus {corpus}, "
            f"encoder {encoder}"
        )


def _named_preset(item: tuple[str, Any]) -> tuple[str, str | None]:
    """(editor, preset) of an `--hparam EDITOR=PRESET`; no preset for another hyper-parameter."""
    editor, _, field = item[0].partition(".")
    return registry.resolve(editor), None if field else str(item[1])


class Planner:
    """Plans points of one configuration; every backbone's and data set's files are read once."""

    def __init__(self, config: RunConfig, context: Context | None = None) -> None:
        self._config = config
        self._context = context or Context()
        self._changes = hparam_changes(config)
        self._notes: dict[str, None] = {}
        self.backbone = cache(self._backbone)
        self._sources = cache(self._find_sources)
        self._templates = cache(self._find_templates)
        self._check_text = cache(check_text)

    def train_missing(self, points: Sequence[GridPoint]) -> None:
        """Train weights that are missing and take minutes on a miniature backbone."""
        if not self._config.embedded_data or self._config.weights == "random":
            return
        for point in points:
            if not trains_on_first_use(point.editor, point.backbone):
                continue
            try:
                self.sources(point)
            except UntrainedEditorError:
                self._train(point)

    def plan(self, points: Sequence[GridPoint], *, named: bool) -> Plan:
        """The jobs of some points; if their editors were `named`, none may be left out."""
        table = get_table(self._config.table)
        kind = KINDS[table.measures]
        kind.check(self._config)
        with show_busy("reading models, data and trained weights"):
            try:
                streams, reasons = self.edit_jobs(points, named=named)
            except UntrainedEditorError as error:
                raise UntrainedEditorError(f"{error} --skip-untrained leaves them out.") from None
            jobs = kind.jobs(streams, self._config, self._context)
        return Plan(table=table, jobs=jobs, left_out=reasons, notes=tuple(self._notes))

    def edit_jobs(
        self, points: Sequence[GridPoint], *, named: bool
    ) -> tuple[list[EditJob], list[str]]:
        """(jobs of the points' own kind of cell, why others have none); see `plan`."""
        check_device(self._config.device)
        jobs, reasons, refused = [], dict[str, None](), dict[str, None]()
        for point in points:
            try:
                self.sources(point)
            except UntrainedEditorError as error:
                wanted = named and point.variant is None and not self._config.skip_untrained
                (refused if wanted else reasons)[str(error)] = None
            except NotBuiltError as error:
                if point.backbone == points[0].backbone:
                    raise
                reasons[str(error)] = None
            else:
                if not refused:
                    jobs.append(self._job(point))
        if refused:
            raise UntrainedEditorError(" ".join(refused))
        return jobs, list(reasons)

    def _job(self, point: GridPoint) -> EditJob:
        config, backbone = self._config, self.backbone(point.backbone)
        self.check_data(point.dataset, backbone)
        data_dir = self._data_dir(point.dataset)
        loaded = self._context.samples(point.dataset, data_dir, backbone, config.generation)
        if len(loaded.samples) < point.n_edits:
            notes = "".join(f" {note}." for note in loaded.notes())
            raise ValueError(
                f"Data set {point.dataset} has {len(loaded.samples):,} samples in {loaded.path}, "
                f"but {point.n_edits:,} sequential edits need as many.{notes}"
            )
        self._note(point, loaded)
        hparams, sources = self.hparams(point), self.sources(point)
        rows, seed = len(loaded.samples), 0 if config.vary == "training" else point.seed
        limit, part = drawing(point.limit, point.n_edits, rows, seed)
        if config.weights == "trained":
            if hparams.uses_covariance and sources.corpus is not None:
                self._check_text(backbone, sources.corpus)
            templates = self._templates(backbone, hparams.template_lengths)
            sources = replace(sources, templates=templates)
        cell = Cell(
            backbone=backbone.name,
            backbone_digest=backbone.digest,
            dtype=config.dtype,
            dataset=point.dataset,
            dataset_revision=self._revision(point.dataset, loaded.digest),
            dataset_digest=loaded.digest,
            editor=point.editor,
            editor_version=registry.editor_class(point.editor).version,
            hparams=hparams.to_dict(),
            inputs=sources.digests() | source_digests(point.editor, point.dataset),
            n_edits=point.n_edits,
            batch_per_step=config.batch_per_step,
            seed=point.seed,
            varies=config.vary,
            limit=limit,
            part=part,
            metric_version=metrics.PROTOCOL_VERSION,
            generation=config.generation,
            measures=self._measures,
        )
        return EditJob(
            cell=cell,
            backbone=backbone,
            sources=sources,
            data_dir=data_dir,
            inputs=self._inputs,
            device=config.device,
            device_map=config.device_map,
            paths={"backbone": str(backbone.directory), "data": str(data_dir)},
        )

    def _note(self, point: GridPoint, loaded: LoadedSamples) -> None:
        """What is skipped or changed of a data set; subjects count for editors that use them."""
        for note in loaded.notes():
            of_subject = note.endswith(OF_SUBJECT)
            if not of_subject or registry.editor_class(point.editor).uses_subject:
                self._notes[f"{get_dataset(point.dataset).label}: {note}"] = None

    def hparams(self, point: GridPoint) -> Hparams:
        """The preset with what the variant is, and what the user changed."""
        backbone = self.backbone(point.backbone)
        hparams = hparams_of(point, backbone.like, self._changes, self._config.bundle)
        check_layers(hparams, backbone, label=registry.describe(point.editor).label)
        return hparams

    def sources(self, point: GridPoint) -> Sources:
        """The files that the point's editor needs, whatever the edits are."""
        return self._sources(replace(point, n_edits=1, seed=self._training_seed(point), limit=None))

    def _find_sources(self, point: GridPoint) -> Sources:
        config, hparams = self._config, self.hparams(point)
        backbone = self.backbone(point.backbone)
        preset = registry.hparams_for(point.editor, backbone.like).to_dict()
        values = hparams.to_dict()
        trains = config.weights == "trained" and trains_on_first_use(point.editor, point.backbone)
        return sources_for(
            point.editor,
            backbone.name,
            hparams,
            dataset=point.dataset,
            like=backbone.like,
            config=config,
            artefacts=self._weights_of_first_use(point) if trains else None,
            changed=frozenset(key for key in values if values[key] != preset.get(key))
            | registry.bundle_fields(point.editor),
            seed=None if config.vary == "order" else self._training_seed(point),
        )

    def _train(self, point: GridPoint) -> None:
        config, hparams = self._config, self.hparams(point)
        lm = load(self.backbone(point.backbone), dtype=config.dtype, device=config.device)
        directory, encoder = self._weights_of_first_use(point), self._encoder(point)
        seed = self._training_seed(point)
        train_on_first_use(point.editor, lm, hparams, directory, config.world_seed, encoder, seed)

    def _weights_of_first_use(self, point: GridPoint) -> Path:
        return first_use_directory(
            point.editor,
            self.backbone(point.backbone),
            self.hparams(point),
            self._config.world_seed,
            self._encoder(point),
            dtype=self._config.dtype,
            seed=self._training_seed(point),
        )

    def _training_seed(self, point: GridPoint) -> int:
        return 0 if self._config.vary == "order" else point.seed

    def _encoder(self, point: GridPoint) -> Path | None:
        if not registry.editor_class(point.editor).uses_encoder:
            return None
        return encoder_of(point.editor, self.backbone(point.backbone).like, self._config)

    @cached_property
    def _inputs(self) -> MeasureInputs:
        """What metric sets read; real data are of no world."""
        config = self._config
        world_seed = config.world_seed if config.embedded_data else None
        return MeasureInputs(world_seed=world_seed, text=config.measure_text)

    @cached_property
    def _measures(self) -> Mapping[str, str]:
        return identities(self._config.measure, self._inputs)

    def _backbone(self, name: str) -> Backbone:
        return locate(
            name,
            world_seed=self._config.world_seed,
            hub=self._config.preset == "paper",
            weights=self._config.weights,
        )

    def _find_templates(self, backbone: Backbone, lengths: tuple[int, ...]) -> Path | None:
        """The context templates of a backbone, which its model writes the first time."""
        if not lengths:
            return None
        dtype, device, device_map = self._config.dtype, self._config.device, self._config.device_map
        path = templates_path(identity(backbone.digest, dtype), lengths)
        if not has_templates(path):
            lm = load(backbone, dtype=dtype, device=device, device_map=device_map)
            context_templates(lm, lengths)
        return path

    def _revision(self, dataset: str, digest: str) -> str:
        """The published revision only where the file is the published one."""
        declared = get_dataset(dataset)
        if self._config.data_dir is None and declared.home is None:
            return f"embedded world {self._config.world_seed}"
        published = digest == declared.files["test"].git_blob
        return f"published {declared.revision[:8]}" if published else f"local file {digest[:8]}"

    def check_data(self, dataset: str, backbone: Backbone) -> None:
        """Refuse invented facts for a model of no embedded world; own data sets have their own."""
        if self._config.preset == "embedded" and get_dataset(dataset).home is None:
            check_real_data(backbone.name, backbone.like, self._config)

    def _data_dir(self, dataset: str) -> Path:
        declared = get_dataset(dataset)
        if declared.home is not None and self._config.data_dir is None:
            return declared.home
        return declared.directory("test", self.data_directory())

    def data_directory(self) -> Path:
        """Where the data sets of the package are."""
        if self._config.data_dir is not None:
            return self._config.data_dir
        if self._config.preset != "embedded":
            raise ValueError(
                f"The {self._config.preset} preset needs the original data sets; give their "
                "directory with --data-dir (python -m bench data show zsre prints where to get "
                "them)."
            )
        from bench.world.store import data_dir

        return data_dir(self._config.world_seed)

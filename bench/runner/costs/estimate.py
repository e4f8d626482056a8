"""The plan of a run: for each backbone and editor its cells, edits, hours, peak memory and disk.

Memory rests on the assumptions of `editors.parts.needs` and on further ones, ours: 64 rows of 64
tokens answered at once, 20 new tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from bench.core.config import RunConfig
from bench.core.grids import GridPoint, Table, get_table
from bench.evaluation.inference import BATCH_SIZE
from bench.evaluation.record_kinds import RELEASED
from bench.models.backbones import EMBEDDED, HUB_IDS, like
from bench.models.key_statistics import DOCUMENTS, EMBEDDED_TOKENS, PAPER_DOCUMENTS
from bench.models.resources import encoder_named, usual_encoder
from bench.runner.costs.hours import (
    CPU_TERAFLOPS,
    TERAFLOPS,
    PublishedRates,
    RecordedRates,
    Work,
    drawn_of,
    items_of,
    measured_teraflops,
    samples_of,
    work_of,
)
from bench.runner.costs.sizes import encoder_shape, shape_of_backbone
from bench.runner.kinds import task_limit
from bench.runner.planning import Changes, check_hparams, hparam_changes, hparams_of, points
from bench.world.store import ASSETS
from bench.world.world import DEFAULT_SEED
from editors import registry
from editors.base import TrainableEditor
from editors.parts.needs import BYTES, FORWARD, EncoderShape, Needs, Setting

UNEDITED, COVARIANCE = "unedited", "covariance"  # rows that belong to no editor
HOUR = 3600.0
_RECORD_BYTES = 600  # of one question in a record, measured on records of the embedded preset
_HEADER_BYTES = 4_000  # of a record without its questions
_REPORTS_OF = "mini-llama"  # whose trainings are recorded for every editor that has any
_ASK_TOKENS, _NEW_TOKENS = 64, 20
_ARTICLE_TOKENS = 1_000
_COVARIANCE_TEXTS = 3  # of the longest length in one forward: editors/parts/covariance.py


@dataclass(frozen=True, kw_only=True)
class Row:
    """Hours are None where nothing is known, bytes of training where nothing is trained."""

    backbone: str
    editor: str  # label
    cells: int = 0
    edits: int = 0
    editing_hours: float | None = 0.0
    asking_hours: float | None = 0.0
    training_hours: float = 0.0
    edit_bytes: float | None = None
    train_bytes: float | None = None
    disk_bytes: float = 0.0
    known: bool = True  # whether the editor's own memory is known

    @property
    def hours(self) -> float | None:
        """Of everything."""
        if self.editing_hours is None or self.asking_hours is None:
            return None
        return self.editing_hours + self.asking_hours + self.training_hours

    def to_dict(self) -> dict[str, object]:
        return asdict(self) | {"hours": self.hours}


@dataclass(frozen=True)
class Request:
    """The cells of a selection, and how fast they are computed."""

    config: RunConfig
    teraflops: float | None = None  # sustained; None: see `rate`

    @property
    def table(self) -> Table:
        return get_table(self.config.table)

    @property
    def rate(self) -> float:
        """Sustained TFLOP/s: a CPU's is measured, a thread of one runs the miniature backbones."""
        config = self.config
        if self.teraflops is not None:
            return self.teraflops
        if config.embedded_data:
            return CPU_TERAFLOPS
        return measured_teraflops() if config.device == "cpu" else TERAFLOPS[config.dtype]

    def seconds(self, operations: float) -> float:
        """Seconds of a number of operations."""
        return operations / (1e12 * self.rate)

    def work_of(self, point: GridPoint) -> Work:
        limit, embedded = task_limit(self.config), self.config.embedded_data
        return work_of(point, self.table.measures, embedded=embedded, task_limit=limit)

    def edited_work_of(self, point: GridPoint) -> Work:
        """As `work_of`, of every block of edits where each is asked."""
        work = self.work_of(point)
        if self.table.measures != "general_ability" or self.config.ability_scoring != RELEASED:
            return work
        count = samples_of(point.dataset, embedded=self.config.embedded_data) // point.n_edits
        return replace(work, edits=count * work.edits, questions=count * work.questions)


def estimate(request: Request) -> list[Row]:
    """The rows of all backbones: the unedited model, statistics, then the editors in order.

    Raises:
        ValueError: a name, a configuration or a number of edits that cannot work.
        OSError: a configuration that cannot be read.
    """
    chosen, changes = points(request.config), hparam_changes(request.config)
    if request.config.measure:
        raise ValueError("plan has no estimate of metric sets; leave --measure out.")
    check_hparams(request.config, chosen)
    rows: list[Row] = []
    for backbone, some in _grouped(chosen, lambda point: point.backbone).items():
        part = _Backbone(request, backbone, some, changes)
        rows += [part.unedited(), *part.covariance()]
        of_editors = _grouped(some, lambda point: point.editor)
        rows += [part.editor(editor, its) for editor, its in of_editors.items()]
    return rows


class _Backbone:
    def __init__(
        self, request: Request, name: str, points: Sequence[GridPoint], changes: Changes
    ) -> None:
        self._request, self._config, self._points = request, request.config, points
        self._backbone, self._shape = name, shape_of_backbone(name)
        self._like = like(name)
        self._hub, self._embedded = self._like in HUB_IDS, self._config.embedded_data
        self._recorded = name in EMBEDDED and self._embedded
        self._setting = on = Setting(
            shape=self._shape,
            encoder=encoder_shape(self._config.encoder_for("") or usual_encoder(self._like)),
            dtype=self._config.dtype,
            singles=any(point.n_edits == 1 for point in points),
        )
        self._hparams = {
            point: hparams_of(point, self._like, changes, self._config.bundle) for point in points
        }
        self._needs = {
            point: registry.editor_class(point.editor).needs(
                self._hparams[point],
                replace(on, edits=point.n_edits, encoder=self._encoder_of(point.editor)),
            )
            for point in points
        }
        # A batch of questions, decoded with cached keys and values.
        tokens = BATCH_SIZE * (_ASK_TOKENS + _NEW_TOKENS)
        cache = tokens * on.shape.layers * on.shape.cached * BYTES[on.dtype]
        self._answering = cache + on.logits(BATCH_SIZE) + on.block(BATCH_SIZE, _ASK_TOKENS)
        self._ways = 1 + (self._config.generation != "none")  # in which each question is asked
        self._rates = (
            RecordedRates(name)
            if self._recorded
            else PublishedRates(self._shape, request.seconds, self._needs.__getitem__)
        )

    def _encoder_of(self, editor: str) -> EncoderShape:
        name = encoder_named(editor, self._like, self._config)
        return encoder_shape(name)

    def unedited(self) -> Row:
        """Answers of the unedited model, once for each data set, and its own cells."""
        has_cell = self._request.table.measures in ("general_ability", "times")
        questions, items = 0, 0.0
        if has_cell:
            questions = self._request.work_of(self._points[0]).questions
        else:
            for dataset, some in _grouped(self._points, lambda point: point.dataset).items():
                items += self._distinct(dataset, some) * items_of(dataset)
        seconds = self._rates.unedited(items, questions, self._ways)
        return Row(
            backbone=self._shape.name,
            editor=UNEDITED,
            cells=int(has_cell),
            asking_hours=seconds / HOUR,
            edit_bytes=self._setting.weights + self._answering,
        )

    def covariance(self) -> Iterator[Row]:
        """The key covariances of all editors together, if any: one pass over a corpus."""
        shape, size = self._shape, BYTES[self._setting.dtype]
        of_points = (each.covariance_layers(shape.layers) for each in self._hparams.values())
        layers = {layer for some in of_points for layer in some}
        if not layers:
            return
        documents = self._config.documents or (PAPER_DOCUMENTS if self._hub else DOCUMENTS)
        articles = documents * min(_ARTICLE_TOKENS, shape.context)
        tokens, square = EMBEDDED_TOKENS if self._recorded else articles, shape.inner**2
        share = (max(layers) + 1) / shape.layers  # blocks above the highest layer are not run
        operations = FORWARD * shape.parameters * share + len(layers) * 2 * square
        # Sums in float64 of all layers, and one forward of documents without a gradient.
        batch = _COVARIANCE_TEXTS * min(shape.context, 4096)
        keys = len(layers) * batch * shape.inner * (size + 8)
        sums = len(layers) * 8 * square + batch * (12 * shape.hidden + 4 * shape.inner) * size
        yield Row(
            backbone=shape.name,
            editor=f"{COVARIANCE} ({len(layers)} layers)",
            training_hours=self._request.seconds(float(tokens * operations)) / HOUR,
            train_bytes=self._setting.weights + sums + keys,
            disk_bytes=12.0 * square * len(layers),  # matrices, and an unfinished computation
        )

    def editor(self, editor: str, points: Sequence[GridPoint]) -> Row:
        ways = self._ways + registry.editor_class(editor).retrieves_text
        work = [self._request.edited_work_of(point) for point in points]
        pairs = [*zip(points, work, strict=True)]
        seconds = [self._rates.of_cell(point, cell, ways) for point, cell in pairs]
        needs = [self._needs[point] or Needs() for point in points]
        first, trainings = needs[0], self._trainings(editor, points)
        asked = sum(cell.items + cell.questions for cell in work)
        return Row(
            backbone=self._shape.name,
            editor=registry.describe(editor).label,
            cells=len(points),
            edits=sum(cell.edits for cell in work),
            editing_hours=_hours(edit for edit, _ in seconds),
            asking_hours=_hours(ask for _, ask in seconds),
            training_hours=sum(trainings) / HOUR,
            edit_bytes=max(map(self._peak, needs, (point.n_edits for point in points))),
            train_bytes=None if first.training is None else self._setting.weights + first.training,
            disk_bytes=asked * _RECORD_BYTES
            + len(points) * _HEADER_BYTES
            + len(trainings) * first.artefact
            + (first.checkpoint if any(trainings) else 0.0)
            + first.cached * self._distinct_requests(points),
            known=all(self._needs[point] for point in points),
        )

    def _samples(self, dataset: str) -> int:
        return samples_of(dataset, embedded=self._embedded)

    def _distinct_requests(self, points: Sequence[GridPoint]) -> int:
        """At most: each sample of a data set is one."""
        by_dataset = _grouped(points, lambda point: point.dataset).items()
        return sum(self._distinct(dataset, some) for dataset, some in by_dataset)

    def _distinct(self, dataset: str, points: Sequence[GridPoint]) -> int:
        """Different samples that points of a data set draw, at most: seeds draw other ones."""
        rows, largest = self._samples(dataset), dict[int, int]()
        for point in points:
            drawn = drawn_of(point, rows)
            largest[point.seed] = max(largest.get(point.seed, 0), drawn)
        return min(rows, sum(largest.values()))

    def _peak(self, needs: Needs, edits: int) -> float:
        """While editing or answering, whichever is more."""
        busy = max(needs.working, self._answering)
        return self._setting.weights + needs.held + needs.stored(edits) + busy

    def _trainings(self, editor: str, points: Sequence[GridPoint]) -> list[float]:
        """Seconds of each training; 0 for weights that are shipped."""
        cls = registry.editor_class(editor)
        if not issubclass(cls, TrainableEditor):
            return []
        different: dict[str, GridPoint] = {}  # by hyper-parameters that weights depend on
        for point in points:
            values = self._hparams[point].to_dict()
            fields = {name: value for name, value in values.items() if name not in cls.edit_time}
            different[json.dumps(fields, sort_keys=True)] = point
        if self._recorded:
            return [0.0 if self._is_shipped(p) else _reported(editor) for p in different.values()]
        of_each = len({point.dataset for point in points})  # one for each data set
        needs = [self._needs[point] or Needs() for point in different.values()]
        return [self._request.seconds(each.training_operations) for each in needs] * of_each

    def _is_shipped(self, point: GridPoint) -> bool:
        return (
            self._hparams[point] == registry.hparams_for(point.editor, self._like)
            and self._config.world_seed == DEFAULT_SEED
            and _report(point.editor, self._backbone).is_file()
        )


def totals(rows: Sequence[Row]) -> Row:
    """The sum of hours and disk, the largest memory; rows of unknown hours are left out."""
    known = [row for row in rows if row.hours is not None]
    return Row(
        backbone="all",
        editor="",
        cells=sum(row.cells for row in rows),
        edits=sum(row.edits for row in rows),
        editing_hours=sum(row.editing_hours or 0.0 for row in known),
        asking_hours=sum(row.asking_hours or 0.0 for row in known),
        training_hours=sum(row.training_hours for row in rows),
        edit_bytes=max((row.edit_bytes or 0.0 for row in rows), default=None),
        train_bytes=max((row.train_bytes for row in rows if row.train_bytes), default=None),
        disk_bytes=sum(row.disk_bytes for row in rows),
    )


def _hours(seconds: Iterable[float | None]) -> float | None:
    """The sum, None if any is unknown."""
    values = [*seconds]
    return None if None in values else sum(value or 0.0 for value in values) / HOUR


def _grouped(
    points: Sequence[GridPoint], key: Callable[[GridPoint], str]
) -> dict[str, list[GridPoint]]:
    groups: dict[str, list[GridPoint]] = {}
    for point in points:
        groups.setdefault(key(point), []).append(point)
    return groups


def _report(editor: str, backbone: str) -> Path:
    return ASSETS / "artefacts" / f"{editor}-{backbone}.report.json"


@cache
def _reported(editor: str) -> float:
    """What training took on the backbone whose trainings are all recorded; 0 without a report."""
    path = _report(editor, _REPORTS_OF)
    if not path.is_file():
        return 0.0
    return float(json.loads(path.read_text("utf-8"))["provenance"]["seconds"]["train"])

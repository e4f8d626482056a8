"""The plan of a run: for each backbone and editor its cells, edits, hours, peak memory and disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

from bench.core.config import RunConfig
from bench.core.grids import GridPoint, Table
from bench.models.backbones import EMBEDDED, HUB_IDS
from bench.runner.costs.hours import (
    CPU_TERAFLOPS,
    TERAFLOPS,
    PublishedRates,
    RecordedRates,
    corpus_tokens,
    covariance_operations,
    ways_of,
)
from bench.runner.costs.sizes import encoder_shape, shape_of_backbone
from bench.runner.costs.work import (
    RECORD_BYTES,
    Work,
    answering_bytes,
    covariance_bytes,
    distinct_requests,
    items_of,
    samples_of,
    work_of,
)
from bench.runner.planning import Changes, hparams_of
from bench.world.store import ASSETS
from bench.world.world import DEFAULT_SEED
from editors import registry
from editors.base import Hparams, TrainableEditor
from editors.parts.needs import Needs, Setting

UNEDITED, COVARIANCE = "unedited", "covariance"  # rows that belong to no editor
HOUR = 3600.0
_HEADER_BYTES = 4_000  # of a record without its questions
_REPORTS_OF = "mini-llama"  # whose trainings are recorded for every editor that has any


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
        """Plain values, for a file."""
        return asdict(self) | {"hours": self.hours}


@dataclass(frozen=True, kw_only=True)
class Request:
    """The cells of a table and how they are run."""

    table: Table
    points: Sequence[GridPoint]
    config: RunConfig
    changes: Changes = field(default_factory=dict)  # of hyper-parameters, by the user
    task_limit: int | None = None
    teraflops: float | None = None  # sustained; None takes `TERAFLOPS`

    @property
    def embedded(self) -> bool:
        """Whether the data are the embedded world's."""
        return self.config.embedded_data

    @property
    def generated(self) -> bool:
        """Whether answers are decoded too."""
        return self.config.generation != "none"

    def seconds(self, operations: float) -> float:
        """Seconds of a number of operations; a thread of a CPU runs the miniature backbones."""
        usual = CPU_TERAFLOPS if self.embedded else TERAFLOPS[self.config.dtype]
        return operations / (1e12 * (self.teraflops or usual))

    def work_of(self, point: GridPoint) -> Work:
        """The work of a cell."""
        return work_of(
            point, self.table.measures, embedded=self.embedded, task_limit=self.task_limit
        )


def estimate(request: Request) -> list[Row]:
    """The rows of all backbones: the unedited model, statistics, then the editors in order.

    Raises:
        ValueError: a name, a configuration or a number of edits that cannot work.
        OSError: a configuration that cannot be read.
    """
    rows: list[Row] = []
    for backbone, points in _grouped(request.points, lambda point: point.backbone).items():
        part = _Backbone(request, backbone, points)
        rows += [part.unedited(), *part.covariance(), *part.editors()]
    return rows


class _Backbone:
    """The points of one backbone."""

    def __init__(self, request: Request, name: str, points: Sequence[GridPoint]) -> None:
        self._request, self._points = request, points
        self._backbone, self._shape = name, shape_of_backbone(name)
        self._hub = name in HUB_IDS
        self._recorded = name in EMBEDDED and request.embedded
        self._setting = Setting(
            shape=self._shape,
            encoder=encoder_shape(request.config.encoder, hub=self._hub),
            dtype=request.config.dtype,
            singles=any(point.n_edits == 1 for point in points),
        )
        self._needs = {point: self._needs_of(point) for point in points}
        self._answering = answering_bytes(self._setting)
        self._rates = (
            RecordedRates(name)
            if self._recorded
            else PublishedRates(self._shape, request.seconds, self._needs.__getitem__)
        )

    def unedited(self) -> Row:
        """Answers of the unedited model, once for each data set, and its own cells."""
        request = self._request
        has_cell = request.table.measures in ("general_ability", "times")
        questions, items = 0, 0.0
        if has_cell:
            questions = request.work_of(self._points[0]).questions
        else:
            for dataset, limit in _largest_limits(self._points).items():
                samples = samples_of(dataset, embedded=request.embedded) if limit is None else limit
                items += samples * items_of(dataset)
        seconds = self._rates.unedited(items, questions, 1 + request.generated)
        return Row(
            backbone=self._shape.name,
            editor=UNEDITED,
            cells=int(has_cell),
            asking_hours=seconds / HOUR,
            edit_bytes=self._setting.weights + self._answering,
        )

    def covariance(self) -> Iterator[Row]:
        """The key covariances of all editors together, if any."""
        n_layers = self._shape.layers
        of_points = (self._hparams(point).covariance_layers(n_layers) for point in self._points)
        layers = tuple(sorted({layer for some in of_points for layer in some}))
        if not layers:
            return
        documents = self._request.config.documents
        tokens = corpus_tokens(
            self._shape, hub=self._hub, embedded=self._recorded, documents=documents
        )
        seconds = self._request.seconds(covariance_operations(self._shape, layers, tokens))
        square = self._shape.inner**2 * len(layers)
        yield Row(
            backbone=self._shape.name,
            editor=f"{COVARIANCE} ({len(layers)} layers)",
            training_hours=seconds / HOUR,
            train_bytes=self._setting.weights + covariance_bytes(self._setting, len(layers)),
            disk_bytes=4.0 * square + 8.0 * square,  # matrices, and an unfinished computation
        )

    def editors(self) -> Iterator[Row]:
        """One row for each editor."""
        for editor, points in _grouped(self._points, lambda point: point.editor).items():
            yield self._editor(editor, points)

    def _editor(self, editor: str, points: Sequence[GridPoint]) -> Row:
        request, ways = self._request, ways_of(editor, generated=self._request.generated)
        work = [(point, request.work_of(point)) for point in points]
        needs = [self._needs[point] or Needs() for point in points]
        first = needs[0]
        trainings = self._trainings(editor, points)
        asked = sum(cell.items + cell.questions for _, cell in work)
        return Row(
            backbone=self._shape.name,
            editor=registry.describe(editor).label,
            cells=len(points),
            edits=sum(cell.edits for _, cell in work),
            editing_hours=_hours(self._rates.editing(*cell) for cell in work),
            asking_hours=_hours(self._rates.asking(*cell, ways) for cell in work),
            training_hours=sum(trainings) / HOUR,
            edit_bytes=max(map(self._peak, needs, (point.n_edits for point in points))),
            train_bytes=None if first.training is None else self._setting.weights + first.training,
            disk_bytes=asked * RECORD_BYTES
            + len(points) * _HEADER_BYTES
            + len(trainings) * first.artefact
            + (first.checkpoint if any(trainings) else 0.0)
            + first.cached * distinct_requests(points, embedded=request.embedded),
            known=all(self._needs[point] for point in points),
        )

    def _needs_of(self, point: GridPoint) -> Needs | None:
        setting = replace(self._setting, edits=point.n_edits)
        return registry.editor_class(point.editor).needs(self._hparams(point), setting)

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
            values = self._hparams(point).to_dict()
            fields = {name: value for name, value in values.items() if name not in cls.edit_time}
            different[json.dumps(fields, sort_keys=True)] = point
        if self._recorded:
            return [self._recorded_training(point) for point in different.values()]
        of_each = len({point.dataset for point in points})  # one for each data set
        needs = [self._needs[point] or Needs() for point in different.values()]
        return [self._request.seconds(each.training_operations) for each in needs] * of_each

    def _recorded_training(self, point: GridPoint) -> float:
        shipped = (
            self._hparams(point) == registry.hparams_for(point.editor, self._shape.name)
            and self._request.config.world_seed == DEFAULT_SEED
            and _report(point.editor, self._backbone).is_file()
        )
        return 0.0 if shipped else _reported_seconds(point.editor)

    def _hparams(self, point: GridPoint) -> Hparams:
        return hparams_of(point, self._shape.name, self._request.changes)


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
    total = 0.0
    for value in seconds:
        if value is None:
            return None
        total += value
    return total / HOUR


def _largest_limits(points: Sequence[GridPoint]) -> dict[str, int | None]:
    """The most samples that are drawn of each data set; None for all."""
    limits: dict[str, list[int | None]] = {}
    for point in points:
        limits.setdefault(point.dataset, []).append(point.limit)
    return {
        dataset: None if None in some else max(limit or 0 for limit in some)
        for dataset, some in limits.items()
    }


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
def _reported_seconds(editor: str) -> float:
    """What training took on the backbone whose trainings are all recorded; 0 without a report."""
    path = _report(editor, _REPORTS_OF)
    if not path.is_file():
        return 0.0
    report: Mapping[str, Mapping[str, Mapping[str, float]]] = json.loads(path.read_text("utf-8"))
    return report["provenance"]["seconds"]["train"]

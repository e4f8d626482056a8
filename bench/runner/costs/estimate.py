"""One row for each backbone and editor: cells, edits, hours, peak memory, disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from bench.core.grids import GridPoint, Table
from bench.models.backbones import EMBEDDED, HUB_IDS
from bench.runner.costs.activations import answering, covariance_bytes
from bench.runner.costs.counted import CountedRates
from bench.runner.costs.shapes import encoder_shape, shape_of_backbone
from bench.runner.costs.times import Rates, RecordedRates, ways_of
from bench.runner.costs.training import (
    CPU_TERAFLOPS,
    TERAFLOPS,
    corpus_tokens,
    covariance_operations,
    operations,
)
from bench.runner.costs.work import RECORD_BYTES, distinct_requests, items_of, samples_of, work_of
from bench.runner.planning import Settings, hparams_of
from bench.world.store import ASSETS
from bench.world.world import DEFAULT_SEED
from editors import registry
from editors.base import Hparams, TrainableEditor
from editors.parts.needs import Needs, Setting

UNEDITED, COVARIANCE = "unedited", "covariance"  # rows that belong to no editor
_HEADER_BYTES = 4_000  # of a record without its questions
_REPORTS_OF = "mini-llama"  # whose trainings are recorded for every editor that has one
HOUR = 3600.0


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
    known: bool = True  # whether the editor's own memory could be told

    @property
    def hours(self) -> float | None:
        """Of everything."""
        if self.editing_hours is None or self.asking_hours is None:
            return None
        return self.editing_hours + self.asking_hours + self.training_hours

    def to_dict(self) -> dict[str, object]:
        """Plain values, for a file."""
        return {f.name: vars(self)[f.name] for f in fields(self)} | {"hours": self.hours}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for: the cells of a table and how they are run."""

    table: Table
    points: Sequence[GridPoint]
    settings: Settings
    task_limit: int | None = None
    teraflops: float | None = None  # sustained; None takes `TERAFLOPS`

    @property
    def embedded(self) -> bool:
        """Whether the data are the embedded world's."""
        return self.settings.preset == "embedded" and self.settings.data_dir is None

    @property
    def generated(self) -> bool:
        """Whether answers are decoded too."""
        return self.settings.generation != "none"

    def seconds(self, operations_done: float) -> float:
        """Seconds of so many operations; a thread of a CPU works on the miniature backbones."""
        usual = CPU_TERAFLOPS if self.embedded else TERAFLOPS[self.settings.dtype]
        return operations_done / (1e12 * (self.teraflops or usual))


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
        self._setting = Setting(
            shape=self._shape,
            encoder=encoder_shape(request.settings.encoder, hub=self._hub),
            dtype=request.settings.dtype,
            singles=any(point.n_edits == 1 for point in points),
        )
        recorded = name in EMBEDDED and request.embedded
        counted = CountedRates(self._setting, request.seconds, lambda one: self._hparams(one)[0])
        self._rates: Rates = RecordedRates(name) if recorded else counted
        self._recorded = recorded

    def unedited(self) -> Row:
        """Answers of the model as it was, once for each data set, and its own cells."""
        request, ways = self._request, 1 + self._request.generated
        cell = request.table.measures in ("general_ability", "times")
        questions = items = 0.0
        if cell:
            work = work_of(
                self._points[0], request.table.measures,
                embedded=request.embedded, task_limit=request.task_limit,
            )  # fmt: skip
            questions = work.questions
        else:
            items = sum(
                samples_of(dataset, embedded=request.embedded) * items_of(dataset)
                if limit is None else limit * items_of(dataset)
                for dataset, limit in _largest_limits(self._points).items()
            )  # fmt: skip
        seconds = self._rates.unedited(items, int(questions), ways)
        return Row(
            backbone=self._shape.name,
            editor=UNEDITED,
            cells=int(cell),
            asking_hours=seconds / HOUR,
            edit_bytes=self._setting.weights + answering(self._setting),
        )

    def covariance(self) -> Iterator[Row]:
        """The key covariances that the editors ask for together, if any."""
        asked = {layer for point in self._points for layer in self._hparams(point)[1]}
        if not asked:
            return
        layers = tuple(sorted(asked))
        settings = self._request.settings
        tokens = corpus_tokens(
            self._shape, hub=self._hub, embedded=self._recorded, documents=settings.documents
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
        """One row each."""
        for editor, points in _grouped(self._points, lambda point: point.editor).items():
            yield self._editor(editor, points)

    def _editor(self, editor: str, points: Sequence[GridPoint]) -> Row:
        request, ways = self._request, ways_of(editor, generated=self._request.generated)
        works = [
            work_of(
                point, request.table.measures,
                embedded=request.embedded, task_limit=request.task_limit,
            )
            for point in points
        ]  # fmt: skip
        pairs = list(zip(points, works, strict=True))
        needs = {point: self._needs(point) for point in points}
        asked = sum(work.items + work.questions for work in works)
        first = needs[points[0]] or Needs()
        trainings = self._trainings(editor, points, first.trained)
        return Row(
            backbone=self._shape.name,
            editor=registry.describe(editor).label,
            cells=len(points),
            edits=sum(work.edits for work in works),
            editing_hours=_hours(self._rates.editing(*pair) for pair in pairs),
            asking_hours=_hours(self._rates.asking(*pair, ways) for pair in pairs),
            training_hours=sum(trainings) / HOUR,
            edit_bytes=max(self._peak(needs[point] or Needs(), point.n_edits) for point in points),
            train_bytes=None if first.training is None else self._setting.weights + first.training,
            disk_bytes=asked * RECORD_BYTES
            + len(points) * _HEADER_BYTES
            + len(trainings) * first.artefact
            + (first.checkpoint if any(trainings) else 0.0)
            + first.cached * distinct_requests(points, embedded=request.embedded),
            known=None not in needs.values(),
        )

    def _peak(self, needs: Needs, edits: int) -> float:
        """While editing or answering, whichever is more."""
        busy = max(needs.working, answering(self._setting))
        return self._setting.weights + needs.held + needs.stored(edits) + busy

    def _trainings(self, editor: str, points: Sequence[GridPoint], trained: float) -> list[float]:
        """Seconds of each training; 0 for weights that are shipped."""
        cls = registry.editor_class(editor)
        if not issubclass(cls, TrainableEditor):
            return []
        different: dict[str, Hparams] = {}
        for point in points:
            values = self._hparams(point)[0]
            fields = {k: v for k, v in values.to_dict().items() if k not in cls.edit_time}
            different[json.dumps(fields, sort_keys=True)] = values
        if self._recorded:
            return [self._recorded_training(editor, one) for one in different.values()]
        of_each = len({point.dataset for point in points})  # one for each data set
        return [
            self._request.seconds(operations(one, self._setting, trained) or 0.0)
            for one in different.values()
        ] * of_each

    def _recorded_training(self, editor: str, hparams: Hparams) -> float:
        preset = registry.hparams_for(editor, self._shape.name)
        shipped = (
            hparams == preset
            and self._request.settings.world_seed == DEFAULT_SEED
            and _report(editor, self._backbone).is_file()
        )
        return 0.0 if shipped else _reported_seconds(editor)

    def _needs(self, point: GridPoint) -> Needs | None:
        cls = registry.editor_class(point.editor)
        return cls.needs(self._hparams(point)[0], self._setting)

    def _hparams(self, point: GridPoint) -> tuple[Hparams, tuple[int, ...]]:
        """Hyper-parameters, and layers whose covariance they ask for."""
        found = hparams_of(point, self._shape.name, self._request.settings)
        return found, found.covariance_layers(self._shape.layers)


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
    found = list(seconds)
    known = [one for one in found if one is not None]
    return sum(known) / HOUR if len(known) == len(found) else None


def _largest_limits(points: Sequence[GridPoint]) -> dict[str, int | None]:
    """The most samples that are drawn of each data set; None for all."""
    largest: dict[str, int | None] = {}
    for point in points:
        before = largest.get(point.dataset, 0)
        unlimited = before is None or point.limit is None
        largest[point.dataset] = None if unlimited else max(before or 0, point.limit or 0)
    return largest


def _grouped(
    points: Sequence[GridPoint], key: Callable[[GridPoint], str]
) -> dict[str, list[GridPoint]]:
    found: dict[str, list[GridPoint]] = {}
    for point in points:
        found.setdefault(key(point), []).append(point)
    return found


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

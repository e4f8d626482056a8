"""The form of a record as types: what `results verify` and `results import` accept.

`record.schema.json`, the published JSON Schema, is generated from these types by
`python -m bench.store.schema`.
"""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic.warnings import TypedDictExtraConfigWarning
from typing_extensions import TypedDict

from bench.store.results import SCHEMAS, SEALED_SINCE

SCHEMA = Path(__file__).with_name("record.schema.json")
_NAMED = 3  # violations of one record; the others mostly follow from these


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
Score = Annotated[float, Field(ge=0, le=1)]
Scores = dict[str, Score]
Strings = dict[str, str]
Object = dict[str, Any]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


# What a record is of: the identities of `bench.evaluation.record_kinds`.


class Model(TypedDict):
    backbone: str
    backbone_digest: str
    dtype: str


class Stream(TypedDict):
    dataset: str
    dataset_revision: str
    dataset_digest: str
    hparams: Object
    inputs: Strings
    seed: Count


class EditStream(Stream):
    editor: str
    editor_version: Positive
    n_edits: Positive


class EditingCell(Model, EditStream):
    batch_per_step: Positive
    varies: str
    limit: Positive | None
    part: NotRequired[Positive]
    protocol: str
    scoring_time: str
    metric_version: Positive
    generation: Literal["none", "context_free", "context_guided"]
    measures: NotRequired[Annotated[Strings, Field(min_length=1)]]


class AbilityCell(Model):
    kind: Literal["ability"]
    edits: EditStream | None
    harness: str
    scoring: Literal["paper", "released", "lm-eval", "promptbench"]
    wording: str
    task_limit: Positive | None
    tasks: Strings
    protocol_version: Positive


class TimingCell(Model, Stream):
    kind: Literal["timing"]
    editor: str | None
    editor_version: Positive | None
    n_edits: Count
    queries: Positive
    new_tokens: Positive
    weights: Literal["trained", "random"]
    tokenizer: str | None
    device: NotRequired[str]
    timing_version: Positive


# Optional metric sets; docs/metrics_and_protocols.md defines their numbers.

Age = TypedDict(
    "Age",
    {
        "from": Count,
        "to": int,
        "samples": Count,
        "reliability": float | None,
        "generality": float | None,
    },
)
Retained = TypedDict(
    "Retained",
    {
        "age": NotRequired[Count],
        "from": NotRequired[Count],
        "to": NotRequired[Count],
        "samples": Count,
        "token_accuracy": Scores,
        "exact": Scores,
    },
)


class Retention(TypedDict):
    by_age: list[Age]
    cohort: Positive
    curve: Annotated[list[Retained], Field(min_length=1)]
    end: Retained


class Fluency(TypedDict):
    perplexity: Annotated[float, Field(ge=1)] | None
    nats: Amount | None
    repetition: Score
    entropy: Amount


# mypy does not know `extra_items` (PEP 728) yet.
class Alarms(TypedDict, extra_items=bool):  # type: ignore[call-arg]
    perplexity: bool
    repetition: bool
    entropy: bool


class Collapse(TypedDict):
    blocks: Positive
    before: Fluency
    after: Fluency
    ratio: Amount | None
    alarms: Alarms
    alarm: bool


Verdict = dict[Literal["newest", "older", "neither"], Score]


class Verdicts(TypedDict, extra_items=Verdict):  # type: ignore[call-arg]
    request: Verdict
    rephrase: Verdict


class Conflicts(TypedDict):
    pairs: Count
    likeness: dict[str, Positive]
    stream: Verdicts
    forward: Verdicts
    reverse: Verdicts
    gap: Annotated[float, Field(ge=-1, le=1)] | None


class DistanceGroup(TypedDict):
    source: Literal["world", "data"]
    items: Positive
    token_accuracy: Score
    exact: Score


class Distance(TypedDict):
    groups: dict[Literal["same_pair", "same_subject", "same_relation", "unrelated"], DistanceGroup]


class Rate(TypedDict):
    success: Score
    magnitude: Annotated[float, Field(ge=-1, le=1)]


class Rates(TypedDict):
    aspects: dict[Literal["reliability", "generality", "locality"], Rate]
    score: Score | None


class Success(TypedDict):
    samples: Count
    before: Rates
    after: Rates


class Overfitted(TypedDict):
    before: Score
    after: Score


class Overfit(TypedDict):
    kinds: dict[str, Overfitted]


class Norm(TypedDict):
    edits: Positive
    norm: Amount
    moved: Amount
    per_edit: Amount


class Norms(TypedDict):
    curve: list[Norm]


class Measures(TypedDict, total=False, extra_items=Object):  # type: ignore[call-arg]
    retention: Retention
    collapse: Collapse
    conflicts: Conflicts
    distance: Distance
    success: Success
    overfit: Overfit
    norms: Norms


class MeasuredBlock(TypedDict, extra_items=Any):  # type: ignore[call-arg]
    stages: Any
    end: Any


class Measured(TypedDict):
    """What a metric set measured, from which its summary follows."""

    before: Any
    blocks: list[MeasuredBlock]


# Editing.

Channel = Literal["teacher_forced", "prompt_only", "generated"]
Measure = Literal["token_accuracy", "exact", "generated_exact"]
ByChannel = dict[Channel, dict[Measure, Scores]]


class Phases(TypedDict):
    before: NotRequired[ByChannel]
    after: ByChannel


class EditingSummary(TypedDict):
    samples: Count
    blocks: Count
    items: Count
    scores: Phases
    kinds: Phases
    measures: NotRequired[
        Annotated[Measures, Field(min_length=1, json_schema_extra={"minProperties": 1})]
    ]


class Answer(TypedDict):
    ids: list[int]
    text: str


class Answers(TypedDict):
    teacher_forced: Answer
    prompt_only: NotRequired[Answer]
    generated: NotRequired[Answer]


class Item(TypedDict):
    aspect: Literal["reliability", "generality", "locality", "portability"]
    kind: str
    prompt: str
    target: str
    target_ids: Annotated[list[int], Field(min_length=1)]
    aliases: NotRequired[Annotated[list[str], Field(min_length=1)]]
    known: NotRequired[bool]
    before: Answers
    after: Answers


class EditingRow(TypedDict):
    id: str
    block: Count
    position: Count
    edit_seconds: Amount
    items: Annotated[list[Item], Field(min_length=1)]


class WorstItem(TypedDict):
    kind: str
    prompt: str
    target: str
    before: str
    after: str


class WorstSample(TypedDict):
    id: str
    score: Score
    items: list[WorstItem]


# General ability.


class AbilityRow(TypedDict):
    task: str
    index: Count
    group: str
    prediction: int | str | None
    score: Score
    f1: NotRequired[Score]
    exact: NotRequired[Score]
    prompt: NotRequired[str]
    block: NotRequired[Count]


class Means(TypedDict):
    items: Count
    score: Score
    f1: NotRequired[Score]
    exact: NotRequired[Score]


class Task(Means):
    questions: Count
    macro: Score
    groups: dict[str, Means]
    prompts: NotRequired[Scores]
    spread: NotRequired[float | None]


class AbilitySummary(TypedDict):
    items: Count
    unanswered: Count
    tasks: dict[str, Task]
    average: Score
    reliability: Score | None


# Times.


class Seconds(TypedDict):
    median: Amount
    lower: Amount
    upper: Amount
    count: Positive


class TimingSummary(TypedDict):
    edit: Seconds | None
    edit_least: NotRequired[Seconds]
    forward: Seconds
    overhead: Amount
    generation: Seconds
    trained_parameters: Count | None
    forward_bfloat16: Seconds | None


# Records.


class EditorFacts(TypedDict):
    label: str | None
    family: Literal["MP", "AP", "RB"] | None
    retrieves_text: bool


class GitState(TypedDict):
    commit: str
    dirty: bool


class Provenance(TypedDict, extra_items=Any):  # type: ignore[call-arg]
    """How the record was computed; it changes no result."""

    package: str
    git: NotRequired[GitState | None]
    python: str
    libraries: Strings
    hardware: Strings
    threads: Positive
    started: str
    finished: str
    seconds: dict[str, float]
    peak_memory: dict[str, Count]


class Health(TypedDict):
    block: Count
    effect: float | None
    diverged_at: Positive | None


class CompleteStatus(TypedDict):
    state: Literal["complete"]


class FailedStatus(TypedDict):
    state: Literal["failed"]
    error: str
    message: str
    traceback: str


Bounds = Annotated[list[Score], Field(min_length=2, max_length=2)]


class Intervals(TypedDict):
    over: Literal["blocks", "samples"]
    scores: dict[str, dict[str, dict[str, Bounds]]]


class AnyRecord(TypedDict):
    schema: Annotated[int, Field(ge=SCHEMAS[0], le=SCHEMAS[-1])]
    key: Sha256
    digest: NotRequired[Sha256]
    protocol: NotRequired[Annotated[str, Field(pattern="^[^/]+/[^/]+/v[0-9]+$")]]
    editor: EditorFacts
    provenance: Provenance
    measured: NotRequired[dict[str, Measured]]
    edit_seconds: NotRequired[Annotated[list[Amount], Field(min_length=3, max_length=3)]]
    by_age: NotRequired[list[Age]]
    intervals: NotRequired[Intervals]
    worst: NotRequired[list[WorstSample]]


class FailedRecord(AnyRecord):
    status: FailedStatus
    cell: EditingCell | AbilityCell | TimingCell
    data: NotRequired[Object]
    health: NotRequired[list[Health]]


class CompleteRecord(AnyRecord):
    status: CompleteStatus
    data: Object
    health: list[Health]


class EditingRecord(CompleteRecord):
    cell: EditingCell
    summary: EditingSummary
    rows: NotRequired[Annotated[list[EditingRow], Field(min_length=1)]]


class AbilityRecord(CompleteRecord):
    cell: AbilityCell
    summary: AbilitySummary
    rows: NotRequired[Annotated[list[AbilityRow], Field(min_length=1)]]


class TimingRecord(CompleteRecord):
    cell: TimingCell
    summary: TimingSummary
    rows: NotRequired[Annotated[list[Object], Field(max_length=0)]]


def _type_of(record: Any) -> str | None:
    if not isinstance(record, dict):
        return None
    status, cell = record.get("status"), record.get("cell")
    if isinstance(status, dict) and status.get("state") == "failed":
        return "failed"
    return str(cell.get("kind", "editing")) if isinstance(cell, dict) else "editing"


def _prepared(record: Any) -> Any:
    if isinstance(record, dict) and record.get("schema") == SEALED_SINCE and "digest" not in record:
        raise ValueError(f"a record of schema version {SEALED_SINCE} has a digest")
    return _plain_numbers(record)


def _plain_numbers(value: Any) -> Any:
    """JSON has one kind of number: 2.0 is an integer too."""
    if isinstance(value, dict):
        return {name: _plain_numbers(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


RecordForm = Annotated[
    Annotated[FailedRecord, Tag("failed")]
    | Annotated[EditingRecord, Tag("editing")]
    | Annotated[AbilityRecord, Tag("ability")]
    | Annotated[TimingRecord, Tag("timing")],
    Discriminator(_type_of),
    BeforeValidator(_prepared),
]


@cache
def _adapter() -> TypeAdapter[Any]:
    """Types without `extra_items` are closed; that the others are not, pydantic warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TypedDictExtraConfigWarning)
        return TypeAdapter(
            RecordForm, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
        )


def violations(record: Any) -> list[str]:
    """What in a record is not of its form, one sentence each; the first few."""
    try:
        _adapter().validate_python(record)
    except ValidationError as error:
        broken = error.errors(include_url=False, include_context=False, include_input=False)
        return [f"{_place(part['loc'])}: {part['msg']}." for part in broken[:_NAMED]]
    return []


def _place(location: tuple[int | str, ...]) -> str:
    """Where in a record; pydantic begins with the type of record that was expected."""
    return "/".join(map(str, location[1:])) or "the record"


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def published() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of these types."""
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": "urn:lifelong-edit-bench:record",
        "title": "A result record of lifelong-edit-bench, of schema version 1 or 2",
        "description": "One cell of a table. A full record has rows, from which its summary "
        "follows; a compact one has quartiles, ages and worst samples of an editing record in "
        "their place. Since version 2 `digest` is the sha256 of the canonical JSON (sorted names, "
        "no white space, UTF-8) of all else. `key` is that of the canonical JSON of `cell`.",
        "if": {"properties": {"schema": {"const": SEALED_SINCE}}},
        "then": {"required": ["digest"]},
        **_adapter().json_schema(schema_generator=_Untitled),
    }


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(published(), indent=1) + "\n", encoding="utf-8")

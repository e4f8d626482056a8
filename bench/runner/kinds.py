"""What differs between tables that measure different things: a row of `KINDS` for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import metadata
from typing import Any

from bench.core.cells import Cell, Identity
from bench.core.config import RunConfig
from bench.core.grids import Measured
from bench.evaluation.context import Context
from bench.evaluation.general_ability.scoring import PROTOCOL_VERSION
from bench.evaluation.general_ability.sets import Source, holds_a_set
from bench.evaluation.jobs import AbilityJob, EditJob, Job, TimingJob
from bench.evaluation.record_kinds import (
    BUILT_IN,
    OUR_WORDING,
    PROMPT_SETS,
    TIMING_VERSION,
    AbilityCell,
    EditStream,
    TimingCell,
)

TEXT_SET = "collapse"  # the metric set that reads a text
PROMPTED_QUESTIONS = 50  # of each set with PromptBench, which has 20 prompts for each (ours)
QUERIES = 100  # inferences that are timed (ours)
NEW_TOKENS = 20  # of the longer inference, as long as an answer may be

_NO_EDITS: dict[str, Any] = {"hparams": {}, "inputs": {}, "n_edits": 0}
_UNEDITED = _NO_EDITS | {"editor": None, "editor_version": None}

_MEANINGLESS = "random weights give times (Table 3), and scores that mean nothing"
_NO_QUESTIONS = "it asks no questions of general ability"
_OWN_DRAW = "its seeds draw and order the edits"
_NOT_EDITS = "it asks questions of general ability, not about the edits"
_TIMES = "it measures times"
_SINGLE = "it makes single edits"
_PARTS = "its rows are RECIPE with and without its parts"

_OF_ABILITY = ("scoring", "harness", "task_limit", "ability_dir")
_SETS = ("measure", "measure_text")
_VIEWS = ("averages", "by_type", "correlate", "significance", "metric_loss")  # of `tables`


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How the cells of a table are planned, and which options it does not take."""

    identity: type[Identity]
    jobs: Callable[[Sequence[EditJob], RunConfig, Context], Sequence[Job]]
    refused: Mapping[str, str]  # name of an option that would do nothing -> why
    check: Callable[[RunConfig], object] = lambda _: None  # what can be refused before planning
    alone: bool = False  # cells run one after another, whatever `jobs` is


def task_limit(config: RunConfig) -> int | None:
    """Questions of each set of general ability; None: all."""
    few = PROMPTED_QUESTIONS if config.harness == "promptbench" else None
    return config.task_limit or few


def ability_source(config: RunConfig) -> Source:
    """Where the questions come from.

    Files that were named come first, then those beside real edit sets. Else the paper preset takes
    the hub's, and the embedded preset the embedded world's, unless its edits are real, as they
    always are in the small preset.
    """
    files, beside = config.ability_dir, config.data_dir
    if beside is not None and (config.preset != "paper" or holds_a_set(beside)):
        files = files or beside
    if files is not None:
        return Source(kind="files", directory=files, name="local files")
    if config.preset == "paper":
        return Source(kind="hub", name="the hub")
    from bench.world.store import data_dir

    seed = config.world_seed
    return Source(kind="embedded", directory=data_dir(seed), name=f"embedded world {seed}")


def _harness(config: RunConfig) -> str:
    if config.ability_scoring == "lm-eval":
        return f"lm-eval {metadata.version('lm_eval')}"
    if config.ability_scoring == "promptbench":
        from bench.evaluation.general_ability.promptbench_harness import version

        return f"promptbench {version()}"
    return "ours"


def _ability_jobs(
    streams: Sequence[EditJob], config: RunConfig, context: Context
) -> list[AbilityJob]:
    """The job of the unedited model, then one for every stream of edits."""
    source, scoring, harness = ability_source(config), config.ability_scoring, _harness(config)
    wording = PROMPT_SETS if scoring == "promptbench" else OUR_WORDING
    if scoring == "lm-eval" and source.kind != "embedded":  # it knows the published sets only
        wording = BUILT_IN
    digests = {key: loaded.digest for key, loaded in context.ability_sets(source).items()}

    def job(model: EditJob, stream: EditJob | None) -> AbilityJob:
        paths = {"backbone": model.paths["backbone"], "questions": str(source.directory or "hub")}
        return AbilityJob(
            cell=AbilityCell(
                backbone=model.cell.backbone,
                backbone_digest=model.cell.backbone_digest,
                dtype=model.cell.dtype,
                edits=None if stream is None else EditStream(**_shared(stream.cell, EditStream)),
                harness=harness,
                scoring=scoring,
                wording=wording,
                task_limit=task_limit(config),
                tasks=digests,
                protocol_version=PROTOCOL_VERSION,
            ),
            backbone=model.backbone,
            device=model.device,
            device_map=model.device_map,
            paths=paths if stream is None else paths | {"data": stream.paths["data"]},
            source=source,
            stream=stream,
        )

    unedited = [job(streams[0], None)] if streams else []
    return unedited + [job(stream, stream) for stream in streams]


def _shared(cell: Cell, other: type[EditStream | TimingCell]) -> dict[str, Any]:
    """The fields that a cell of editing has in common with what is built from it."""
    return {f.name: vars(cell)[f.name] for f in fields(other) if f.name in vars(cell)}


def _timing_jobs(streams: Sequence[EditJob], config: RunConfig, _: Context) -> list[TimingJob]:
    """The job of the unedited model, then one for every stream of edits."""

    def job(stream: EditJob, *, edited: bool) -> TimingJob:
        lent = stream.backbone.lent_tokenizer
        return TimingJob(
            cell=TimingCell(
                **_shared(stream.cell, TimingCell) | ({} if edited else _UNEDITED),
                queries=QUERIES,
                new_tokens=NEW_TOKENS,
                weights=config.weights,
                tokenizer=None if lent is None else lent.name,
                timing_version=TIMING_VERSION,
                device=stream.device.partition(":")[0],
            ),
            backbone=stream.backbone,
            device=stream.device,
            device_map=stream.device_map,
            paths=stream.paths,
            stream=stream,
        )

    unedited = [job(streams[0], edited=False)] if streams else []
    return unedited + [job(stream, edited=True) for stream in streams]


_EDITING = Kind(
    identity=Cell,
    jobs=lambda streams, *_: streams,
    refused=dict.fromkeys(_OF_ABILITY, _NO_QUESTIONS) | {"weights": _MEANINGLESS},
)
KINDS: dict[Measured, Kind] = {
    "editing": _EDITING,
    "general_ability": Kind(
        identity=AbilityCell,
        jobs=_ability_jobs,
        refused={
            "limit": "it makes n edits once; --task-limit limits its questions",
            "vary": _OWN_DRAW,
            "batch_per_step": _SINGLE,
        }
        | dict.fromkeys((*_VIEWS, "metric", *_SETS), _NOT_EDITS)
        | {"weights": _MEANINGLESS},
        check=_harness,
    ),
    "times": Kind(
        identity=TimingCell,
        jobs=_timing_jobs,
        refused=dict.fromkeys((*_OF_ABILITY, "limit", "vary", *_VIEWS, "metric", *_SETS), _TIMES)
        | {"batch_per_step": _SINGLE},
        alone=True,
    ),
    "ablation": Kind(
        identity=Cell,
        jobs=_EDITING.jobs,
        refused=dict(_EDITING.refused)
        | dict.fromkeys(("editors", *_VIEWS, *_SETS), _PARTS)
        | {"batch_per_step": _SINGLE},
    ),
}

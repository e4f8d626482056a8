"""Points of Table 2 to jobs: which questions, asked how, of the unedited and every edited model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bench.core.grids import GridPoint
from bench.evaluation.edit_job import EditJob
from bench.evaluation.general_ability.job import AbilityJob
from bench.evaluation.general_ability.loading import Source, holds_a_set, load_sets
from bench.evaluation.general_ability.scoring import PROTOCOL_VERSION
from bench.evaluation.record_kinds import (
    BUILT_IN,
    OUR_WORDING,
    PROMPT_SETS,
    AbilityCell,
    EditStream,
    Scoring,
)
from bench.runner import planning
from bench.runner.planning import Settings

PROMPTED_QUESTIONS = 50  # ours: a thousand decoded answers for each set


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How the questions are asked, in a whole run."""

    scoring: Scoring = "paper"
    task_limit: int | None = None  # questions of each set
    ability_dir: Path | None = None  # of the sets' files

    @property
    def limit(self) -> int | None:
        """Questions of each set; by default few with PromptBench, which asks each 20 times."""
        few = PROMPTED_QUESTIONS if self.scoring == "promptbench" else None
        return self.task_limit or few


def plan(points: Sequence[GridPoint], settings: Settings, asking: Asking) -> list[AbilityJob]:
    """The job of the unedited model, then one for every point.

    Raises:
        ValueError: anything that cannot work; see `bench.runner.planning.plan`.
        OSError: files that are missing or cannot be read, or a hub that cannot be reached.
    """
    _harness(asking.scoring)  # before anything is read
    streams = planning.plan(points, settings)
    source = source_of(settings, asking)
    digests = {key: loaded.digest for key, loaded in load_sets(source).items()}
    unedited = [_job(streams[0], None, source, digests, asking)] if streams else []
    return unedited + [_job(stream, stream, source, digests, asking) for stream in streams]


def source_of(settings: Settings, asking: Asking) -> Source:
    """Where the questions come from.

    Files that were named come first, then those beside real edit sets. Else the paper preset takes
    the hub's, and the embedded preset the embedded world's, unless its edits are real.
    """
    if asking.ability_dir is not None:
        return _files(asking.ability_dir)
    beside = settings.data_dir
    if beside is not None and (settings.preset != "paper" or holds_a_set(beside)):
        return _files(beside)
    if settings.preset == "paper":
        return Source(kind="hub", name="the hub")
    from bench.world.store import data_dir

    seed = settings.world_seed
    return Source(kind="embedded", directory=data_dir(seed), name=f"embedded world {seed}")


def _files(directory: Path) -> Source:
    return Source(kind="files", directory=directory, name="local files")


def _job(
    model: EditJob,
    stream: EditJob | None,
    source: Source,
    digests: Mapping[str, str],
    asking: Asking,
) -> AbilityJob:
    """The job of a stream's edits, or of none, on the backbone of `model`."""
    cell = AbilityCell(
        backbone=model.cell.backbone,
        backbone_digest=model.cell.backbone_digest,
        dtype=model.cell.dtype,
        edits=None if stream is None else _edits(stream),
        harness=_harness(asking.scoring),
        scoring=asking.scoring,
        wording=_wording(asking.scoring, source),
        task_limit=asking.limit,
        tasks=digests,
        protocol_version=PROTOCOL_VERSION,
    )
    return AbilityJob(
        cell=cell,
        backbone=model.backbone,
        device=model.device,
        device_map=model.device_map,
        source=source,
        stream=stream,
    )


def _harness(scoring: Scoring) -> str:
    """Whose code asks, with its version.

    Raises:
        ValueError: a library that is not installed.
    """
    if scoring == "lm-eval":
        return f"lm-eval {metadata.version('lm_eval')}"
    if scoring == "promptbench":
        from bench.evaluation.general_ability.promptbench_harness import version

        return f"promptbench {version()}"
    return "ours"


def _wording(scoring: Scoring, source: Source) -> str:
    """Whose prompts are asked; lm-eval's own know the published sets only."""
    if scoring == "promptbench":
        return PROMPT_SETS
    return BUILT_IN if scoring == "lm-eval" and source.kind != "embedded" else OUR_WORDING


def _edits(stream: EditJob) -> EditStream:
    cell = stream.cell
    return EditStream(
        dataset=cell.dataset,
        dataset_revision=cell.dataset_revision,
        dataset_digest=cell.dataset_digest,
        editor=cell.editor,
        editor_version=cell.editor_version,
        hparams=cell.hparams,
        inputs=cell.inputs,
        n_edits=cell.n_edits,
        seed=cell.seed,
    )

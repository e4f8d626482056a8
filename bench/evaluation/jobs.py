"""Jobs: cells with the places of their inputs. `bench.evaluation.driver` runs them.

A job is a frozen value, so that it can be sent to a worker of another process or machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.cells import Cell, Identity
from bench.core.config import DeviceMap
from bench.evaluation.general_ability.sets import Source
from bench.evaluation.metric_sets import NO_INPUTS, MeasureInputs
from bench.evaluation.record_kinds import AbilityCell, TimingCell
from bench.models.backbones import Backbone
from bench.models.resources import Sources


@dataclass(frozen=True, kw_only=True)
class Job:
    """What cells of every kind need."""

    cell: Identity
    backbone: Backbone
    device: str
    device_map: DeviceMap | None = None
    replaces: str | None = None  # mark of the record that is to be replaced; any other one counts
    paths: Mapping[str, str]  # of the inputs, by name, for the record's provenance


@dataclass(frozen=True, kw_only=True)
class EditJob(Job):
    """A cell of Tables 1, 4, 5 and 6."""

    cell: Cell
    sources: Sources
    data_dir: Path
    inputs: MeasureInputs = NO_INPUTS  # of optional metric sets


@dataclass(frozen=True, kw_only=True)
class AbilityJob(Job):
    """A cell of Table 2."""

    cell: AbilityCell
    source: Source  # of the questions
    stream: EditJob | None  # whose editor, data set and sources the edits are; None: no edits


@dataclass(frozen=True, kw_only=True)
class TimingJob(Job):
    """A cell of Table 3; `stream` names data and sources, of the unedited model too."""

    cell: TimingCell
    stream: EditJob


@dataclass(frozen=True, kw_only=True)
class Results:
    """What running a job gave."""

    body: Mapping[str, Any]  # of the record, beside identity and provenance: `summary` and more
    seconds: Mapping[str, float]  # by phase
    edits: int

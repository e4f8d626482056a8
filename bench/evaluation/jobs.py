"""What a run hands to a worker, whatever it measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.core.cells import Identity
from bench.models.backbones import Backbone, DeviceMap
from editors import registry

if TYPE_CHECKING:
    from bench.evaluation.checkpointing import Checkpointer
    from bench.evaluation.context import Loaded


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a job found."""

    body: Mapping[str, Any]  # of the record, beside its circumstances: `summary` and more
    seconds: Mapping[str, float]  # by phase
    edits: int


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """An identity with the places of its inputs; plain values, so that it can go to a worker."""

    cell: Identity
    backbone: Backbone
    device: str
    device_map: DeviceMap | None = None
    replaces: str | None = None  # mark of the record that is to be made anew; any other one counts

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Jobs with the largest are started first."""

    @abstractmethod
    def results(self, loaded: Loaded, checkpointer: Checkpointer) -> Results:
        """Do the work, with what the worker has loaded already and what an earlier run has kept.

        Raises:
            StoppedEarly: the checkpointer was asked to stop.
        """

    @abstractmethod
    def editor_facts(self) -> dict[str, Any]:
        """What tables need to know of the editor."""

    def places(self) -> dict[str, str]:
        """Where the inputs were, for the record's provenance."""
        return {"backbone": str(self.backbone.directory)}


def facts_of(editor: str) -> dict[str, Any]:
    """What tables need to know of an editor."""
    cls = registry.editor_class(editor)
    return {"label": cls.label, "family": cls.family, "retrieves_text": cls.retrieves_text}

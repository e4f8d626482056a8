"""From the command line's words to a session: backbone, editor, and what the editor needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.core.busy import show_busy
from bench.core.grids import GridPoint, Preset, Selection, get_table
from bench.models.backbones import load
from bench.models.resources import resources_for
from bench.runner.planning import Settings, editor_inputs, points, train_missing
from editors import registry

if TYPE_CHECKING:
    from bench.cli.interactive.session import Session

_TABLE = 1  # whose backbones are the default ones


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which editor, on what."""

    editor: str
    backbone: str | None = None  # None: the preset's of Table 1
    dataset: str = "zsre"  # whose trained weights and training edits an editor takes
    preset: Preset = "embedded"


def opened(wanted: Wanted, settings: Settings) -> Session:
    """A session without edits; what is missing and quickly made is made first.

    Raises:
        ValueError: an editor, backbone or hyper-parameter that cannot be had.
        OSError: files that are missing, trained weights for one; the sentence says what makes them.
    """
    from bench.cli.interactive.session import Session

    point = point_of(wanted)
    train_missing([point], settings)
    backbone, hparams, sources = editor_inputs(point, settings)
    hparams.check_installed()
    cls = registry.editor_class(point.editor)
    with show_busy(f"loading {backbone.name} with {cls.label}"):
        lm = load(
            backbone, dtype=settings.dtype, device=settings.device, device_map=settings.device_map
        )
        return Session(cls(lm, hparams, resources_for(lm, hparams, sources)))


def point_of(wanted: Wanted) -> GridPoint:
    """The single edit of a table that the wanted editor would be.

    Raises:
        ValueError: an unknown editor or data set.
    """
    selection = Selection(
        preset=wanted.preset,
        backbone=wanted.backbone,
        editors=(wanted.editor,),
        datasets=(wanted.dataset,),
        edits=(1,),
    )
    return points(get_table(_TABLE), selection)[0]

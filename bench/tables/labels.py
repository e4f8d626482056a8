"""In which settings an editor was measured, in a few words."""

from __future__ import annotations

from bench.core.cells import Cell
from bench.core.grids import row_variant
from bench.tables.tabulate import changes_sentence

PRESET, UNKNOWN = "preset", "no preset to compare with"


def settings_of(cell: Cell) -> str:
    """`mode=easyedit`: what differs from the editor's preset, else that nothing does.

    A variant with a row and a label of its own counts as a preset.
    """
    if row_variant(cell.editor, cell.hparams) is not None:
        return PRESET
    try:
        said = changes_sentence(cell.backbone, {cell.editor: cell.hparams})
    except ValueError:  # no preset for this backbone
        return UNKNOWN
    return said.partition(" with ")[2].removesuffix(".") or PRESET

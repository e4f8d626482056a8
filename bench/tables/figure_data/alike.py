"""Which records one figure may show together: those of one backbone, measured alike."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.core.cells import Cell, check_one_way, joined
from bench.core.grids import TABLES, Table
from bench.core.names import editor_keys
from bench.datasets import dataset_keys
from bench.store.results import Record
from editors import registry

LENGTH = "prompt_length"  # the hyper-parameter that Figure 3 varies
# What a field of a cell may depend on within one figure; any other difference is not the editors'.
# The protocol is checked by `bench.core.cells`; whether there is generation beside it may vary:
# teacher-forced scores do not depend on it.
_DEPENDS: dict[str, tuple[str, ...]] = {
    "backbone_digest": (),
    "dtype": (),
    "dataset_revision": ("dataset",),
    "dataset_digest": ("dataset",),
    "limit": ("n_edits",),
    "editor_version": ("editor",),
    "inputs": ("editor", "dataset", LENGTH),
}


@dataclass(frozen=True)
class Plan:
    """Records that were measured alike, in the order of tables, one for each cell."""

    records: tuple[Record, ...]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of `records`, in their order."""
        return tuple(Cell.from_dict(record["cell"]) for record in self.records)

    @property
    def backbone(self) -> str:
        return self.cells[0].backbone

    @property
    def table(self) -> Table | None:
        """The paper's table whose grid has this backbone."""
        return next((t for t in TABLES.values() if self.backbone in t.backbones.values()), None)

    @property
    def editors(self) -> tuple[str, ...]:
        """Keys, in the paper's row order."""
        return tuple(dict.fromkeys(cell.editor for cell in self.cells))

    @property
    def datasets(self) -> tuple[str, ...]:
        """Keys, in the paper's column order."""
        return dataset_keys({cell.dataset for cell in self.cells})

    @property
    def protocols(self) -> Mapping[str, str]:
        """Data set key -> id of the protocol."""
        return {cell.dataset: cell.protocol_id for cell in self.cells}

    @property
    def protocol(self) -> str:
        """The id of a number over all data sets."""
        return joined(self.cells)

    def of(
        self, *, n_edits: int | None = None, editor: str | None = None, length: int | None = None
    ) -> list[Record]:
        """The records at a number of edits, of an editor, of a length of continuous prompts."""
        pairs = zip(self.records, self.cells, strict=True)
        return [
            record
            for record, cell in pairs
            if n_edits in {None, cell.n_edits}
            and editor in {None, cell.editor}
            and length in {None, cell.hparams.get(LENGTH)}
        ]


def plan(
    records: Iterable[Record],
    backbone: str,
    *,
    editors: Collection[str] = (),
    free: Collection[str] = (),
) -> Plan:
    """The records of a backbone whose editors have their presets.

    Args:
        records: compact ones of any cells.
        backbone: its name.
        editors: keys of those that are wanted, none for all.
        free: hyper-parameters that may differ from the preset's.

    Raises:
        ValueError: none are left, or they were not measured alike.
    """
    stored = [(record, Cell.from_dict(record["cell"])) for record in records]
    chosen = [
        (record, cell)
        for record, cell in stored
        if cell.backbone == backbone
        and (not editors or cell.editor in editors)
        and changes(cell) <= set(free)
    ]
    if not chosen:
        wanted = ", ".join(registry.describe(key).label for key in editors) or "any editor"
        there = ", ".join(sorted({cell.backbone for _, cell in stored}))
        raise ValueError(
            f"No record of {wanted} on {backbone} with its preset's hyper-parameters. "
            f"Backbones of the records: {there or 'none'}."
        )
    check_alike([cell for _, cell in chosen])
    ordered = sorted(chosen, key=_order([cell for _, cell in chosen]))
    once = {_point(cell): record for record, cell in reversed(ordered)}
    return Plan(tuple(record for _, record in reversed(once.items())))


def changes(cell: Cell) -> frozenset[str]:
    """Names of hyper-parameters that are not the preset's; one that a record lacks is a default."""
    if not registry.is_present(cell.editor):  # a user's own, whose presets are not here
        return frozenset()
    preset = registry.hparams_for(cell.editor, cell.backbone)
    wanted = preset.to_dict()
    unknown = frozenset(cell.hparams) - frozenset(wanted)
    if unknown:
        return unknown
    got = type(preset).from_dict(cell.hparams).to_dict()
    return frozenset(name for name in wanted if wanted[name] != got[name])


def check_alike(cells: Sequence[Cell]) -> None:
    """Refuse cells that differ in more than what a figure shows.

    Raises:
        ValueError: which field differs, where, and its values; or several protocols.
    """
    check_one_way(cells)
    for field, depends in _DEPENDS.items():
        seen: dict[tuple[object, ...], object] = {}
        for cell in cells:
            facts = cell.to_dict() | {LENGTH: cell.hparams.get(LENGTH)}
            place = tuple(facts[name] for name in depends)
            first = seen.setdefault(place, facts[field])
            if first != facts[field]:
                at = ", ".join(f"{name} {value}" for name, value in _named(depends, place))
                raise ValueError(
                    f"Records of {cell.backbone} differ in {field}{at and f' at {at}'} "
                    f"({first} and {facts[field]}); a figure shows records of one kind, "
                    "so keep the others in a directory of their own."
                )


def common_edits(cells: Sequence[Cell]) -> int:
    """The largest number of edits that all editors of the cells have, else the largest of any."""
    by_editor: dict[str, set[int]] = {}
    for cell in cells:
        by_editor.setdefault(cell.editor, set()).add(cell.n_edits)
    shared = set.intersection(*by_editor.values())
    return max(shared or set.union(*by_editor.values()))


def _point(cell: Cell) -> tuple[object, ...]:
    """What tells cells apart that were measured alike."""
    return cell.n_edits, cell.editor, cell.dataset, cell.hparams.get(LENGTH), cell.seed


def _order(cells: Sequence[Cell]) -> Callable[[tuple[Record, Cell]], tuple[int, ...]]:
    """The order of tables: edits, editors, data sets, then lengths and seeds."""
    editors = editor_keys({cell.editor for cell in cells})
    datasets = dataset_keys({cell.dataset for cell in cells})

    def place(pair: tuple[Record, Cell]) -> tuple[int, ...]:
        cell = pair[1]
        length = int(cell.hparams.get(LENGTH, 0))
        editor, dataset = editors.index(cell.editor), datasets.index(cell.dataset)
        # Of a cell with and without further metric sets the plain one counts.
        return cell.n_edits, editor, dataset, length, cell.seed, len(cell.measures)

    return place


def _named(names: Sequence[str], values: Sequence[object]) -> list[tuple[str, object]]:
    return [(name, value) for name, value in zip(names, values, strict=True) if value is not None]

"""The numbers of figures: which records they may show together, means over data sets, files."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.core.cells import Cell, check_one_way, joined
from bench.core.files import write_text
from bench.core.grids import RECIPE, TABLES, Table
from bench.core.names import row_order
from bench.core.numerics import Spread
from bench.datasets import dataset_keys, get_dataset, remember
from bench.store.inventory import split_stale, warn_of_stale
from bench.store.reference import compact
from bench.store.results import Record, ResultStore, is_complete, parse
from bench.tables.table import METRICS, TOKEN_ACCURACY, absent_sentences, over_datasets
from editors import registry

LENGTH = "prompt_length"  # the hyper-parameter that Figure 3 varies
LENGTH_EDITS = 1_000  # the paper's number of edits in Figure 3
MAP_SCHEMA = 1
_MAP_PARTS = ("settings", "cells", "missing", "versions", "names", "prompts", "nearness")
# What a field of a cell may depend on within one figure; any other difference is not the editors'.
# The protocol is checked by `bench.core.protocol`; whether there is generation beside it may vary:
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

LengthMeans = Mapping[int, Mapping[str, Spread]]  # length -> column -> mean over the data sets


def records_by_file(directory: Path) -> dict[str, list[Record]]:
    """The complete records of a directory, by the stem of their file.

    Where the directory holds `*.jsonl` files, their lines are the records; else each `*.json` file
    is a record, and all are under an empty stem.

    Raises:
        OSError: no such directory, or a file that cannot be read.
        ValueError: a file or line that is no record.
    """
    if not directory.is_dir():
        raise FileNotFoundError(
            f"No records at {directory}; python -m bench run writes them, --from names a directory."
        )
    files: dict[str, list[Record]] = {}
    for path in sorted(directory.glob("*.jsonl")):
        lines = path.read_bytes().splitlines()  # a text would be split at U+2028 too
        records = [parse(line, f"{path}, line {i}") for i, line in enumerate(lines, 1)]
        files[path.stem] = list(filter(is_complete, records))
    return files or {"": list(filter(is_complete, ResultStore(directory).records()))}


def read_records(directory: Path) -> list[Record]:
    """The editing records of a directory in compact form, each cell once, by their keys.

    Raises:
        OSError: no such directory, or a file that cannot be read.
        ValueError: a file or line that is no record, or no complete editing record at all.
    """
    files = records_by_file(directory)
    editing = [r for own in files.values() for r in own if r["cell"].get("kind") == Cell.kind]
    if "" in files:  # committed records are never stale
        editing, stale = split_stale(editing)
        warn_of_stale(stale)
    records = {record["key"]: compact(record) for record in editing}
    if not records:
        raise ValueError(f"No complete record of an editing run in {directory}.")
    remember(records.values())
    return [records[key] for key in sorted(records)]


@dataclass(frozen=True)
class Comparable:
    """Records that were measured alike, in the order of tables, one for each cell."""

    pairs: tuple[tuple[Record, Cell], ...]

    @property
    def records(self) -> tuple[Record, ...]:
        """The records alone."""
        return tuple(record for record, _ in self.pairs)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells alone."""
        return tuple(cell for _, cell in self.pairs)

    @property
    def backbone(self) -> str:
        """The one of all cells."""
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
    def labels(self) -> tuple[str, ...]:
        """Labels of the data sets, in that order."""
        return tuple(get_dataset(key).label for key in self.datasets)

    @property
    def protocol(self) -> str:
        """The id of a number over all data sets."""
        return joined(self.cells)

    def of(self, **names: object) -> Comparable:
        """Those whose cells have these values, as `n_edits=10`; they may be none."""
        return Comparable(tuple(p for p in self.pairs if names.items() <= vars(p[1]).items()))


def comparable(
    records: Iterable[Record], backbone: str, *, editors: Collection[str] = (),
    free: Collection[str] = (),
) -> Comparable:  # fmt: skip
    """The compact records of a backbone whose editors, all or some, have their presets.

    `free` are hyper-parameters that may differ from the preset's.

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
    _check_alike([cell for _, cell in chosen])
    once: dict[tuple[object, ...], tuple[Record, Cell]] = {}
    # Of a cell with and without further metric sets the plain one counts, which comes first.
    for pair in sorted(chosen, key=lambda pair: (_place(pair[1]), len(pair[1].measures))):
        once.setdefault(_place(pair[1]), pair)
    return Comparable(tuple(once.values()))


def with_average(chosen: Comparable) -> tuple[Comparable, tuple[str, ...]]:
    """Those of the data sets that have an average, and a sentence about each other one.

    Raises:
        ValueError: no data set has one.
    """
    lacking: dict[str, set[str]] = {}
    for key in chosen.datasets:
        scores = [
            record["summary"]["scores"]["after"][TOKEN_ACCURACY.channel][TOKEN_ACCURACY.measure]
            for record in chosen.of(dataset=key).records
        ]
        absent = {c for c, name in METRICS.items() if not any(name in own for own in scores)}
        if absent:
            lacking[key] = absent
    sentences = absent_sentences({get_dataset(key).label: own for key, own in lacking.items()})
    notes = tuple(f"Left out: {sentence}" for sentence in sentences)
    left = tuple(pair for pair in chosen.pairs if pair[1].dataset not in lacking)
    if not left:
        raise ValueError(f"No data set of the records has an average. {' '.join(notes)}")
    return Comparable(left), notes


def _place(cell: Cell) -> tuple[object, ...]:
    """What distinguishes cells that were measured alike, in the order of tables."""
    length = int(cell.hparams.get(LENGTH, 0))
    return cell.n_edits, row_order(cell.editor, cell.dataset), length, cell.seed


def changes(cell: Cell) -> frozenset[str]:
    """Names of hyper-parameters that are not the preset's; one that a record lacks is a default."""
    if not registry.is_present(cell.editor):  # a user's own, whose presets are not here
        return frozenset()
    preset = registry.compared_preset(cell.editor, cell.backbone, cell.hparams)
    wanted = preset.to_dict()
    unknown = frozenset(cell.hparams) - frozenset(wanted)
    if unknown:
        return unknown
    values = type(preset).from_dict(cell.hparams).to_dict()
    return frozenset(name for name in wanted if wanted[name] != values[name])


def _check_alike(cells: Sequence[Cell]) -> None:
    """Refuse cells that differ in more than what a figure shows."""
    check_one_way(cells)
    for field, depends in _DEPENDS.items():
        seen: dict[tuple[object, ...], object] = {}
        for cell in cells:
            facts = cell.to_dict() | {LENGTH: cell.hparams.get(LENGTH)}
            place = tuple(facts[name] for name in depends)
            first = seen.setdefault(place, facts[field])
            if first != facts[field]:
                named = zip(depends, place, strict=True)
                at = ", ".join(f"{name} {value}" for name, value in named if value is not None)
                raise ValueError(
                    f"Records of {cell.backbone} differ in {field}{at and f' at {at}'} "
                    f"({first} and {facts[field]}); a figure shows records of one kind, "
                    "so put the others into a directory of their own."
                )


def common_edits(cells: Sequence[Cell]) -> int:
    """The largest number of edits that all editors of the cells have, else the largest of any."""
    by_editor: dict[str, set[int]] = {}
    for cell in cells:
        by_editor.setdefault(cell.editor, set()).add(cell.n_edits)
    return max(set.intersection(*by_editor.values()) or set.union(*by_editor.values()))


def recipe_by_length(
    records: Iterable[Record], backbone: str, n_edits: int | None = None
) -> Comparable:
    """RECIPE's records with continuous prompts of any length, otherwise as in its preset.

    Raises:
        ValueError: there are none, or they were not measured alike.
    """
    n_edits = n_edits or LENGTH_EDITS
    own = [record for record in records if record["cell"]["n_edits"] == n_edits]
    if not own:
        raise ValueError(f"Figure 3 needs records at {n_edits:,} edits, there are none.")
    return comparable(own, backbone, editors=[RECIPE], free=[LENGTH])


def length_means(chosen: Comparable, datasets: Sequence[str]) -> LengthMeans:
    """Mean over the data sets, per length that has all of them; of `LENGTHS` and any other.

    Lengths are compared over the same seeds of a data set: those that all of them have.

    Raises:
        ValueError: there are none.
    """
    by_length: dict[int, dict[tuple[str, int], Record]] = {}
    for record, cell in chosen.pairs:
        own = by_length.setdefault(int(cell.hparams[LENGTH]), {})
        own[cell.dataset, cell.seed] = record
    whole = {n: own for n, own in sorted(by_length.items()) if {d for d, _ in own} >= set(datasets)}
    common = set.intersection(*map(set, whole.values())) if whole else set()
    if whole and {dataset for dataset, _ in common} < set(datasets):
        raise ValueError(
            f"Prompts of {', '.join(map(str, whole))} tokens have no seed in common on every data "
            "set, so that their records cannot be compared."
        )
    means = (
        (n, over_datasets([r for at, r in own.items() if at in common], datasets))
        for n, own in whole.items()
    )
    return {n: own for n, own in means if own}


def write_map(data: Mapping[str, Any], path: Path) -> Path:
    """Write the data of Figure 4 as JSON, the same file for the same data; returns `path`.

    Raises:
        OSError: the place cannot be written.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return write_text(path, text + "\n")


def read_map(path: Path) -> dict[str, Any]:
    """The data that `write_map` wrote.

    Raises:
        FileNotFoundError: no such file, with the command that computes it.
        ValueError: a file of another kind or schema.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"No data of Figure 4 at {path}; python -m bench figures --figure 4 --compute "
            "computes them."
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} holds no data of Figure 4.") from error
    if not isinstance(data, dict) or data.get("schema") != MAP_SCHEMA:
        raise ValueError(f"{path} holds no data of Figure 4 of schema {MAP_SCHEMA}.")
    if absent := [part for part in _MAP_PARTS if part not in data]:
        raise ValueError(f"{path} lacks {', '.join(absent)} of Figure 4.")
    return data

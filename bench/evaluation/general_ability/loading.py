"""Sets of questions from the embedded world, a local mirror or the hub, in one form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.core.numerics import draw
from bench.datasets.rows import Row, read_csv, read_json_lines
from bench.evaluation.general_ability.sets import SETS, AbilityItem, AbilitySet

DRAW_SEED = 0  # of a limited set: every cell of a table asks the same questions


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the questions come from; plain values, so that it can go to a worker."""

    kind: Literal["embedded", "files", "hub"]
    directory: Path | None = None  # None: the hub
    name: str  # as captions print it


@dataclass(frozen=True, kw_only=True)
class LoadedSet:
    """All questions of a set. Equal contents have equal digests, whatever their form."""

    key: str
    items: tuple[AbilityItem, ...]
    digest: str  # sha256 of the documents' JSON


def load_sets(source: Source) -> dict[str, LoadedSet]:
    """The four sets by key.

    Raises:
        OSError: a file is missing or cannot be read, or the hub cannot be reached.
        ValueError: a malformed file or row, or a set without rows.
    """
    return {key: _loaded(ability_set, source) for key, ability_set in SETS.items()}


def chosen(loaded: LoadedSet, limit: int | None) -> list[tuple[int, AbilityItem]]:
    """(index, item) of a set's questions in order: all, or `limit` of them drawn at random."""
    numbered = list(enumerate(loaded.items))
    if limit is None or limit >= len(numbered):
        return numbered
    return sorted(draw(numbered, seed=DRAW_SEED, limit=limit), key=lambda pair: pair[0])


def holds_a_set(directory: Path) -> bool:
    """Whether a directory has files of at least one set."""
    return any(_files(ability_set, directory) for ability_set in SETS.values())


def _loaded(ability_set: AbilitySet, source: Source) -> LoadedSet:
    directory = source.directory
    rows = _hub_rows(ability_set) if directory is None else _file_rows(ability_set, directory)
    items = tuple(ability_set.read(row, part) for row, part in rows)
    if not items:
        raise ValueError(f"{ability_set.label} from {source.name} has no rows.")
    return LoadedSet(key=ability_set.key, items=items, digest=_digest(items))


def _file_rows(ability_set: AbilitySet, directory: Path) -> Iterator[tuple[Row, str]]:
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} is not a directory: wanted the one with the sets.")
    files = _files(ability_set, directory)
    if not files:
        raise FileNotFoundError(
            f"No {ability_set.label} in {directory} or below it: wanted "
            f"{' or '.join(ability_set.patterns)}."
        )
    return ((row, path.stem) for path in files for row in _rows(ability_set, path))


def _files(ability_set: AbilitySet, directory: Path) -> Sequence[Path]:
    """The files of the first pattern that has any.

    Raises:
        ValueError: the same file in several folders.
    """
    matches = (sorted(directory.glob(f"**/{p}")) for p in ability_set.patterns)
    files = next(filter(None, matches), [])
    if len({path.name for path in files}) < len(files):
        places = ", ".join(str(path.relative_to(directory)) for path in files)
        raise ValueError(
            f"{ability_set.label} is in {directory} more than once: {places}. Wanted one."
        )
    return files


def _rows(ability_set: AbilitySet, path: Path) -> Iterator[Row]:
    """Rows of one local file."""
    if path.suffix == ".csv":
        return read_csv(path, path.read_bytes(), ability_set.csv_columns)
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    return read_json_lines(path, path.read_bytes())


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        values: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not usable parquet: {error}") from None
    return (Row(value, f"{path}, row {number}") for number, value in enumerate(values))


def _hub_rows(ability_set: AbilitySet) -> Iterator[tuple[Row, str]]:
    from datasets import disable_progress_bars, load_dataset

    hub = ability_set.hub
    disable_progress_bars()
    for split in hub.splits:
        try:
            rows: Iterable[dict[str, Any]] = load_dataset(hub.path, hub.name, split=split)
        except Exception as error:  # it raises many kinds: offline, http, no cache
            raise OSError(
                f"Cannot get {ability_set.label} ({hub.path}) from the hub "
                f"({type(error).__name__}); check the network, or name the directory of a local "
                "copy with --ability-dir."
            ) from error
        where = f"{hub.path} {split}"
        yield from ((Row(row, f"{where}, row {i}"), split) for i, row in enumerate(rows))


def _digest(items: Iterable[AbilityItem]) -> str:
    whole = hashlib.sha256()
    for item in items:
        # The group is not in every document: ANLI's rounds are splits of the hub's set.
        line = json.dumps([item.group, item.document], sort_keys=True, ensure_ascii=False)
        whole.update(f"{line}\n".encode())
    return whole.hexdigest()

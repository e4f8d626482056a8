"""Whether a directory holds the published files: presence, rows, fields, git blob ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.datasets.base import SPLITS, EditDataset, LoadedSamples, Split
from bench.datasets.files import PublishedFile

State = Literal["full", "partial", "different", "unusable", "missing"]
WRONG: frozenset[State] = frozenset({"different", "unusable", "missing"})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found for one split of a data set.

    `full` is the published file, byte for byte; `partial` a readable file with fewer rows;
    `different` one with as many rows or more whose content is not the published one.
    """

    dataset: str
    split: Split
    state: State
    published_rows: int
    detail: str  # the error, or a remark on what was read
    loaded: LoadedSamples | None = None

    @property
    def wrong(self) -> bool:
        return self.state in WRONG


def verify(datasets: Iterable[EditDataset], directory: Path) -> Iterator[Finding]:
    """Findings for both splits of each data set, in order; nothing is raised for a bad file.

    Raises:
        NotADirectoryError: `directory` is none.
    """
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} is not a directory: wanted one with data files.")
    for dataset in datasets:
        for split in SPLITS:
            yield _verify_split(dataset, split, directory)


def _verify_split(dataset: EditDataset, split: Split, directory: Path) -> Finding:
    published = dataset.files[split]
    state: State
    loaded = None
    try:
        loaded = dataset.load(split, directory)
    except FileNotFoundError as error:
        state, detail = "missing", str(error)
    except (ValueError, OSError) as error:
        state, detail = "unusable", str(error)
    else:
        state, detail = _compare(loaded, published)
    return Finding(
        dataset=dataset.label,
        split=split,
        state=state,
        published_rows=published.rows,
        detail=detail,
        loaded=loaded,
    )


def _compare(loaded: LoadedSamples, published: PublishedFile) -> tuple[State, str]:
    if loaded.digest == published.git_blob:
        return "full", "the published file"
    if loaded.rows < published.rows:
        return "partial", f"{published.rows - loaded.rows:,} rows fewer than the published file"
    return "different", f"not the published content (wanted git blob {published.git_blob})"

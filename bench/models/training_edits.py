"""Training edits for editors that read some without being trained on them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.datasets import get_dataset
from bench.datasets.base import locate
from bench.world.store import data_dir

if TYPE_CHECKING:
    from editors.base import EditSample


@dataclass(frozen=True, kw_only=True)
class TrainingEdits:
    """The training split of a data set, unread."""

    dataset: str  # key
    path: Path

    def samples(self) -> tuple[EditSample, ...]:
        """All of its edits in file order; the file is read once in a process."""
        return _samples(self.dataset, self.path)


def training_edits(dataset: str, directory: Path | None, world_seed: int) -> TrainingEdits:
    """The training split beside the test split: under `directory`, else in the made world's data.

    Raises:
        OSError: it is not there.
        ValueError: an unknown data set, or several files that fit.
    """
    found = get_dataset(dataset)
    place = found.directory("train", directory or found.home or data_dir(world_seed))
    path = locate(found.files["train"], place)
    return TrainingEdits(dataset=found.key, path=path)


@cache
def _samples(dataset: str, path: Path) -> tuple[EditSample, ...]:
    return get_dataset(dataset).load_file("train", path).samples

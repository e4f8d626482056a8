"""What a general-ability set is: where its rows are, and how a row becomes an item."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from bench.datasets.rows import Row, read_json_lines
from bench.world.ability_items import NO_ANSWER


@dataclass(frozen=True, kw_only=True)
class AbilityItem:
    """A prompt in our wording, and either options with the right one's index or gold answers."""

    group: str  # MMLU's subject, ANLI's round, SQuAD-2's kind of question; empty elsewhere
    prompt: str
    options: tuple[str, ...] = ()  # as they follow the prompt; none: it is answered in words
    answer: int | None = None  # index of the right option
    golds: tuple[str, ...] = ()  # of an item without options; none: it has no answer
    document: Mapping[str, Any]  # the fields as the hub's set has them

    @property
    def target(self) -> str:
        """The text forced of an item without options: its first gold answer, or `NO_ANSWER`."""
        return self.golds[0] if self.golds else NO_ANSWER


@dataclass(frozen=True, kw_only=True)
class HubPart:
    """Where the `datasets` library finds a set."""

    path: str
    name: str | None = None  # of the configuration
    splits: tuple[str, ...]


class AbilitySet(ABC):
    """A set of questions. A subclass declares where it is and maps a row to an item."""

    key: ClassVar[str]
    label: ClassVar[str]  # as the paper's Table 2 prints it
    measure: ClassVar[Literal["accuracy", "1/PPL"]]
    hub: ClassVar[HubPart]
    # Names of local files, below any folder: the first pattern that fits any file is taken, and all
    # files that fit it are read. The embedded world's come first, parquet files of the hub last.
    patterns: ClassVar[tuple[str, ...]]
    # Folder of the set's definition among the built-in tasks of lm-eval; None: ours is taken.
    lm_eval_folder: ClassVar[str | None] = None

    @abstractmethod
    def read(self, row: Row, part: str) -> AbilityItem:
        """The item of one row; `part` is the name of the file or hub split that it stands in.

        Raises:
            ValueError: a field is absent or of the wrong type.
        """

    def lm_eval_task(self, item: AbilityItem) -> str:
        """Name of the built-in lm-eval task that an item belongs to.

        Raises:
            ValueError: there is none.
        """
        raise ValueError(f"{self.label} has no built-in task of lm-eval.")

    def rows(self, path: Path) -> Iterator[Row]:
        """Rows of one local file.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is not what its suffix says.
        """
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

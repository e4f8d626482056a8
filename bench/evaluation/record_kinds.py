"""The kinds of record, and the identity of each: `Cell`, `AbilityCell` and `TimingCell`.

An editing cell (Tables 1, 5 and 6) is `bench.core.cells.Cell`. A new kind is one more class here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from bench.core.cells import Cell, Identity, check_counts, departures, plain, protocol_id
from bench.core.config import SCORINGS, Scoring, Weights
from bench.core.names import unknown_name
from bench.world.ability_items import WORDING_VERSION

UNEDITED = "unedited"  # in the place of a data set
RELEASED: Scoring = "released"  # as RECIPE's released code asks, after every block of edits
OUR_WORDING, BUILT_IN, PROMPT_SETS = f"version {WORDING_VERSION}", "lm-eval", "promptbench"

# Raised when what is timed changes: 2 times inference in bfloat16 too, 3 warms up
# for longer, 4 measures overheads in pairs.
TIMING_VERSION = 4

_NAMES = ("kind", "backbone", "dataset", "editor", "n_edits", "seed", "limit", "dtype")


@dataclass(frozen=True, kw_only=True)
class EditStream:
    """The edits after which a model is asked: the first `n_edits` of the seed's draw, in order."""

    dataset: str
    dataset_revision: str
    dataset_digest: str
    editor: str
    editor_version: int
    hparams: Mapping[str, Any]
    inputs: Mapping[str, str]
    n_edits: int
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "hparams", plain(self.hparams))
        object.__setattr__(self, "inputs", plain(self.inputs))
        check_counts(n_edits=self.n_edits, limit=None, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class AbilityCell(Identity):
    """One row of Table 2 for one seed. Without edits it is the unedited model, of no seed.

    Its identity is the model, the edits, the questions, and how they are asked.
    """

    kind: ClassVar[str | None] = "ability"

    edits: EditStream | None
    harness: str  # `ours`, or a library with its version
    scoring: Scoring
    wording: str  # of the prompts: OUR_WORDING, lm-eval's BUILT_IN, or the PROMPT_SETS
    task_limit: int | None  # questions of each set; None asks all
    tasks: Mapping[str, str]  # set -> digest of all its questions
    protocol_version: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "tasks", plain(self.tasks))
        if self.scoring not in SCORINGS:
            raise unknown_name("scoring", self.scoring, SCORINGS)
        if self.task_limit is not None and self.task_limit < 1:
            raise ValueError(f"The task limit must be at least 1, got {self.task_limit}.")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The identity of a record; `to_dict` of it gives equal values."""
        edits = values["edits"]
        stream = None if edits is None else EditStream(**edits)
        return super().from_dict({**values, "edits": stream})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, one per field, and the kind."""
        edits = None if self.edits is None else dataclasses.asdict(self.edits)
        return super().to_dict() | {"edits": edits}

    @property
    def row(self) -> tuple[str, int, str] | None:
        """(data set, number of edits, editor): what the seeds of one row share."""
        edits = self.edits
        return None if edits is None else (edits.dataset, edits.n_edits, edits.editor)

    @property
    def protocol_id(self) -> str:
        """`zsre/ability-paper+version-1/v1`: data set of the edits, scoring, wording, version."""
        dataset = UNEDITED if self.edits is None else self.edits.dataset
        own = () if self.wording == self.scoring else (self.wording.replace(" ", "-"),)
        return protocol_id(dataset, f"ability-{self.scoring}", self.protocol_version, *own)

    def describe(self) -> str:
        """A short human name, for progress and messages."""
        if self.edits is None:
            return f"unedited {self.backbone}, general ability"
        edits = self.edits
        return (
            f"{edits.editor} on {edits.dataset}, {edits.n_edits} edits, general ability, "
            f"{self.backbone}, seed {edits.seed}"
        )


@dataclass(frozen=True, kw_only=True)
class TimingCell(Identity):
    """One row of Table 3; without an editor it is the unedited model.

    Equal identities end in similar times, on the same machine.
    """

    kind: ClassVar[str | None] = "timing"

    dataset: str  # of the edits, whose prompts are asked
    dataset_revision: str
    dataset_digest: str
    editor: str | None
    editor_version: int | None
    hparams: Mapping[str, Any]
    inputs: Mapping[str, str]
    n_edits: int
    seed: int
    queries: int  # timed inferences
    new_tokens: int  # of the longer inference
    weights: Weights = "trained"  # of backbone and editor
    tokenizer: str | None = None  # whose it is, where it is not the backbone's own
    timing_version: int
    # Its kind, as `cuda`. The CPU is left out of the identity, so that the keys of older records
    # stay as they are.
    device: str = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "hparams", plain(self.hparams))
        object.__setattr__(self, "inputs", plain(self.inputs))
        check_counts(n_edits=max(self.n_edits, 1), limit=None, seed=self.seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, one per field; the device only where it is another than the CPU."""
        values = super().to_dict()
        return {k: v for k, v in values.items() if k != "device" or v != "cpu"}

    @property
    def protocol_id(self) -> str:
        """`counterfact/times/v1`; see `bench.core.cells`."""
        unusual = departures({"weights": self.weights}, {"weights": "trained"})
        return protocol_id(self.dataset, "times", self.timing_version, *unusual)

    def describe(self) -> str:
        """A short human name, for progress and messages."""
        random = ", random weights" if self.weights == "random" else ""
        if self.editor is None:
            return f"unedited {self.backbone}, times{random}"
        return (
            f"{self.editor} on {self.dataset}, {self.n_edits} edits, times, {self.backbone}, "
            f"seed {self.seed}{random}"
        )


KINDS: dict[str | None, type[Identity]] = {cls.kind: cls for cls in (Cell, AbilityCell, TimingCell)}


def identity_of(values: Mapping[str, Any]) -> Identity:
    """The identity of a record's `cell`; ValueError: unknown kind, TypeError: other fields."""
    kind = values.get("kind")
    if kind not in KINDS:
        raise ValueError(f"Unknown kind of record {kind!r}.")
    return KINDS[kind].from_dict(values)


def names_of(cell: Identity) -> dict[str, Any]:
    """The names in a cell's identity, without its digests and settings."""
    values = cell.to_dict()
    values |= values.get("edits") or {}  # of general ability: the stream of edits
    return {name: values.get(name) for name in _NAMES}


def edits_in(cell: Identity) -> int | None:
    """How many edits computing a cell takes; None where only its data decide that."""
    if isinstance(cell, AbilityCell) and cell.scoring == RELEASED and cell.edits is not None:
        return None
    if isinstance(cell, Cell):
        return None if cell.limit is None else cell.limit // cell.n_edits * cell.n_edits
    return int(names_of(cell)["n_edits"] or 0)

"""Identity of a general-ability record: model, edits, questions, and how they are asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

from bench.core.cells import Identity, check_counts, plain, protocol_id
from bench.core.names import unknown_name
from bench.world.ability_items import WORDING_VERSION

# How an answer becomes a score: the released code's way, lm-eval's, or PromptBench's, which reads
# what the model says.
Scoring = Literal["paper", "lm-eval", "promptbench"]
SCORINGS: tuple[Scoring, ...] = get_args(Scoring)
UNEDITED = "unedited"  # in the place of a data set
OUR_WORDING, BUILT_IN, PROMPT_SETS = f"version {WORDING_VERSION}", "lm-eval", "promptbench"


@dataclass(frozen=True, kw_only=True)
class EditStream:
    """The edits behind which a model is asked: the first `n_edits` of the seed's draw, in order."""

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
    """One row of Table 2 for one seed. Without edits it is the unedited model, of no seed."""

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
        one = self.edits
        return (
            f"{one.editor} on {one.dataset}, {one.n_edits} edits, general ability, "
            f"{self.backbone}, seed {one.seed}"
        )

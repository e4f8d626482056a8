"""A cell: everything that one number of a table depends on, and its key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from bench.core.identity import Identity, plain
from bench.core.protocol import departures, protocol_id

Generation = Literal["none", "context_free", "context_guided"]

# What the id of a protocol does not say. Scores that are not generated do not depend on whether
# others are, so that both ways of the bare prompt are usual.
_USUAL = {"scoring_time": "block_end", "batch_per_step": 1, "varies": "order"}
_GUIDED: Generation = "context_guided"


@dataclass(frozen=True, kw_only=True)
class Cell(Identity):
    """One editing result: reliability, generality and locality behind n edits of one data set."""

    kind: ClassVar[None] = None

    dataset: str
    dataset_revision: str
    dataset_digest: str
    editor: str
    editor_version: int
    hparams: Mapping[str, Any]  # plain JSON values
    inputs: Mapping[str, str]  # name -> digest of what the editor reads beside the model
    n_edits: int
    batch_per_step: int = 1  # requests per call of `edit`
    seed: int
    varies: Literal["order"] = "order"  # what a seed changes
    limit: int | None  # samples drawn; None draws the whole test split
    protocol: Literal["blocks"] = "blocks"
    scoring_time: Literal["block_end"] = "block_end"
    metric_version: int
    generation: Generation
    # Optional metric sets: name -> version and what else their numbers depend on. A cell without
    # any does not say so, and has the key that it had before there were sets.
    measures: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hparams", plain(self.hparams))
        object.__setattr__(self, "inputs", plain(self.inputs))
        object.__setattr__(self, "measures", plain(self.measures))
        check_counts(n_edits=self.n_edits, limit=self.limit, seed=self.seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, one per field; metric sets only where there are some."""
        values = super().to_dict()
        return values if self.measures else {k: v for k, v in values.items() if k != "measures"}

    @property
    def protocol_id(self) -> str:
        """`zsre/blocks/v1`; see `bench.core.protocol`."""
        unusual = departures(vars(self), _USUAL)
        guided = (_GUIDED,) if self.generation == _GUIDED else ()
        return protocol_id(self.dataset, self.protocol, self.metric_version, *unusual, *guided)

    def describe(self) -> str:
        """A short human name, for progress and messages."""
        edits = "edit" if self.n_edits == 1 else "edits"
        beside = f", with {', '.join(self.measures)}" if self.measures else ""
        return (
            f"{self.editor} on {self.dataset}, {self.n_edits} {edits}, "
            f"{self.backbone}, seed {self.seed}{beside}"
        )


def check_counts(*, n_edits: int, limit: int | None, seed: int) -> None:
    """Refuse counts that no run can have.

    Raises:
        ValueError: a count below 1, a negative seed, or a limit below the number of edits.
    """
    if n_edits < 1:
        raise ValueError(f"The number of edits must be at least 1, got {n_edits}.")
    if seed < 0:
        raise ValueError(f"A seed must be at least 0, got {seed}.")
    if limit is not None and limit < n_edits:
        raise ValueError(
            f"The sample limit must be at least the number of edits, "
            f"got a limit of {limit} for {n_edits} edits."
        )

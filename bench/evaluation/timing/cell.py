"""Identity of a timing record. Equal identities end in similar times, on the same machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bench.core.cells import Identity, check_counts, departures, plain, protocol_id
from bench.models.backbones import Weights

# Raised when what is timed changes: 2 times inference in bfloat16 too, 3 warms up
# for longer, 4 measures overheads in pairs.
TIMING_VERSION = 4


@dataclass(frozen=True, kw_only=True)
class TimingCell(Identity):
    """One row of Table 3; without an editor it is the unedited model."""

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
    # Its kind, as `cuda`. A cell on the CPU does not say so, and has the key that it had before
    # there were others.
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

"""WISE's hyper-parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from editors.base import Hparams
from editors.parts.checks import check_above, check_at_least, check_choice

Projection = Literal["mlp_in", "mlp_out"]
# `retrieve`: finished memories stay apart, and a question goes to the most active one. `merge`:
# they are merged into one weight, beside which there is the memory in progress.
WiseMode = Literal["retrieve", "merge"]
# Which entries the optimiser's weight decay shrinks: `all` (original), so that over a long stream a
# memory drifts where it may not learn, or those alone that it may change.
Decay = Literal["all", "masked"]
# What routing reads of a row that brings its answer: the prompt alone, or (original) all of it.
RoutedOn = Literal["prompt", "row"]


@dataclass(frozen=True, kw_only=True)
class WiseHparams(Hparams):
    """Defaults are EasyEdit's for LLaMA-2-7B, with its names."""

    layer: int | None  # None: at a relative depth of 27/32
    projection: Projection = "mlp_out"
    edit_lr: float = 1.0  # of SGD
    n_iter: int = 70
    alpha: float = 5.0  # most activation of what is out of scope
    beta: float = 20.0  # least activation of the edit
    gamma: float = 10.0  # least difference of both
    act_ratio: float = 0.88  # of the least activation of an edit, above which a memory answers
    mask_ratio: float = 0.2  # of entries that a memory may change
    decay: Decay = "all"
    norm_constraint: float | None = 1.0  # largest change of an entry; None: free
    save_freq: int = 500  # edits in one memory
    merge_freq: int = 1_000  # edits between two merges
    density: float = 0.53  # of the entries of a memory that a merge looks at
    mode: WiseMode = "retrieve"
    routed_on: RoutedOn = "prompt"  # ours
    context_lengths: tuple[int, ...] = (10,) * 10  # tokens of each random prefix

    def __post_init__(self) -> None:
        check_choice("projection", self.projection, Projection)
        check_choice("mode", self.mode, WiseMode)
        check_choice("decay", self.decay, Decay)
        check_choice("routed_on", self.routed_on, RoutedOn)
        for name in ("edit_lr", "act_ratio", "mask_ratio", "density"):
            check_above(name, vars(self)[name], 0)
        for name in ("n_iter", "save_freq", "merge_freq"):
            check_at_least(name, vars(self)[name], 1)
        if self.norm_constraint is not None:
            check_above("norm_constraint", self.norm_constraint, 0)
        if self.merge_freq % self.save_freq:
            raise ValueError(
                f"merge_freq must be a multiple of save_freq, got {self.merge_freq} "
                f"and {self.save_freq}."
            )

    @property
    def template_lengths(self) -> tuple[int, ...]:
        """Lengths of the context prefixes to generate."""
        return self.context_lengths

    @property
    def stops_early(self) -> bool:
        """Once the loss is small and stays what it is."""
        return True

    @property
    def reads_training(self) -> bool:
        """What is out of scope comes from training edits."""
        return True

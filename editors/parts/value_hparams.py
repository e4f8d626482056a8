"""Hyper-parameters that all editors with an optimised value share."""

from __future__ import annotations

from dataclasses import dataclass

from editors.base import Hparams
from editors.parts.checks import check_above, check_at_least
from editors.parts.needs import Setting
from editors.parts.stopping import Stopping
from editors.parts.value_optimisation import ROWS, ValueSettings


@dataclass(frozen=True, kw_only=True)
class ValueHparams(Hparams):
    """Defaults are those of the original ROME's GPT-J configuration, with its names kept."""

    v_num_grad_steps: int = 20
    v_lr: float = 0.5
    v_weight_decay: float = 0.5
    clamp_norm_factor: float = 4.0
    kl_factor: float = 0.0625
    context_lengths: tuple[int, ...] = (5,) * 10 + (10,) * 10  # tokens of each random prefix

    def __post_init__(self) -> None:
        check_at_least("v_num_grad_steps", self.v_num_grad_steps, 2)
        check_above("v_lr", self.v_lr, 0)
        check_at_least("v_weight_decay", self.v_weight_decay, 0)
        check_above("clamp_norm_factor", self.clamp_norm_factor, 0)
        check_at_least("kl_factor", self.kl_factor, 0)

    @property
    def template_lengths(self) -> tuple[int, ...]:
        """Lengths of the context prefixes to generate."""
        return self.context_lengths

    @property
    def stops_early(self) -> bool:
        """The value's optimisation does."""
        return True

    def value_settings(self, stopping: Stopping = "by_loss") -> ValueSettings:
        """The part that the value optimisation needs."""
        return ValueSettings(
            v_num_grad_steps=self.v_num_grad_steps,
            v_lr=self.v_lr,
            v_weight_decay=self.v_weight_decay,
            clamp_norm_factor=self.clamp_norm_factor,
            kl_factor=self.kl_factor,
            stopping=stopping,
        )


def value_rows(hparams: ValueHparams, on: Setting, *, together: bool = True) -> int:
    """Rows of one optimisation: each context template, the bare prompt, and the essence.

    `together` counts those of all single edits that are prepared at once.
    """
    rows = len(hparams.context_lengths) + 2
    return rows * max(1, ROWS // rows) if on.singles and together else rows

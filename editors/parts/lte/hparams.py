"""LTE's hyper-parameters.

Paper: "Learning to Edit: Aligning LLMs with Knowledge Editing" (ACL 2024), code YJiangcm/LTE. The
default is the variant of RECIPE's authors (qizhou000/LiveEdit, `lte_vl`), which also works for
models that were never tuned to chat.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from editors.base import Hparams
from editors.parts.checks import check_above, check_at_least, check_choice

# `author`: a fact is found by prompt and target, and used above a threshold of the cosine.
# `original`: it is found by its prompt, and the nearest one is always used.
LteMode = Literal["author", "original"]


@dataclass(frozen=True, kw_only=True)
class LteHparams(Hparams):
    """Defaults are LiveEdit's where it names one; the numbers of steps are ours."""

    mode: LteMode = "author"
    threshold: float | None = None  # of the cosine; None: as calibrated on training edits

    weight_reliability: float = 1.0
    weight_generality: float = 1.0
    weight_locality: float = 1.0

    learning_rate: float = 5e-6  # of Adam, over all weights
    # Ours: `cosine` brings the rate down to nothing by the last iteration.
    learning_rate_decay: Literal["none", "cosine"] = "none"
    batch_size: int = 8
    iterations: int = 10_000
    checkpoint_interval: int = 1_000
    held_out: int = 200  # training edits of each data set that select the weights
    # Ours: length of the streams of training edits, one of each data set, that set the threshold.
    # The more edits there are, the more questions come near one of them by chance.
    calibration: int = 100

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, LteMode)
        check_choice("learning_rate_decay", self.learning_rate_decay, Literal["none", "cosine"])
        check_above("learning_rate", self.learning_rate, 0)
        for name in ("batch_size", "iterations", "checkpoint_interval", "held_out", "calibration"):
            check_at_least(name, vars(self)[name], 1)
        for name in ("weight_reliability", "weight_generality", "weight_locality"):
            check_at_least(name, vars(self)[name], 0)
        if self.threshold is not None:
            check_at_least("threshold", self.threshold, -1)

    def threshold_in_use(self, calibrated: float) -> float | None:
        """Cosine above which a fact is used; None uses the nearest one always."""
        if self.mode == "original":
            return None
        return calibrated if self.threshold is None else self.threshold


# LiveEdit's threshold belongs to its encoder, multi-qa-mpnet-base-dot-v1. A plain roberta-base, the
# package's for these backbones, puts all sentences near each other, so the default calibrates.
LIVE_EDIT = LteHparams(threshold=0.3)

# Ours, set by hand: a rate and a length that suit a few million parameters.
EMBEDDED = replace(
    LteHparams(),
    learning_rate=3e-4,
    learning_rate_decay="cosine",
    batch_size=16,
    iterations=800,
    checkpoint_interval=100,
    held_out=60,
)

# Ours, for tests: seconds on any model.
TINY = replace(
    LteHparams(),
    learning_rate=3e-3,
    batch_size=4,
    iterations=8,
    checkpoint_interval=2,
    held_out=4,
    calibration=20,
)

PRESETS: dict[str, LteHparams] = {
    **dict.fromkeys(("llama-2-7b", "gpt-j-6b", "gpt2-xl"), LteHparams()),
    "liveedit": LIVE_EDIT,
    "original": LteHparams(mode="original"),
    **dict.fromkeys(("mini-llama", "mini-gptj", "mini-gpt2"), EMBEDDED),
    "default": LteHparams(),
    "tiny": TINY,
}

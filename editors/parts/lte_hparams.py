"""LTE's hyper-parameters: LiveEdit's variant by default, and the original's schedule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from editors.base import Hparams
from editors.parts.checks import check_above, check_at_least, check_fields

# `author`: a fact is found by prompt and target, and used above a threshold of the cosine.
# `original`: it is found by its prompt, and the nearest one is always used.
LteMode = Literal["author", "original"]


@dataclass(frozen=True, kw_only=True)
class LteHparams(Hparams):
    """Defaults are LiveEdit's where it names one; numbers of steps and `calibration` are ours.

    `SCHEDULE` is that of the original.
    """

    later_fields = frozenset({"warmup", "epochs", "micro_batch", "memory"})

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
    warmup: float = 0.0  # share of the steps in which the rate rises to its full value
    epochs: int | None = None  # over the training edits, in place of `iterations`
    micro_batch: int | None = None  # edits in one forward; None: all of a step
    # `host`: the follower is trained in the model's own precision, and its increments and Adam's
    # moments, in float32, lie in the host's memory. See docs/editors/lte.md for what that saves.
    memory: Literal["device", "host"] = "device"

    def __post_init__(self) -> None:
        check_fields(self, LteHparams)
        check_above("learning_rate", self.learning_rate, 0)
        check_at_least("warmup", self.warmup, 0)
        for name in ("epochs", "micro_batch"):
            if vars(self)[name] is not None:
                check_at_least(name, vars(self)[name], 1)
        for name in ("weight_reliability", "weight_generality", "weight_locality"):
            check_at_least(name, vars(self)[name], 0)
        if self.threshold is not None:
            check_at_least("threshold", self.threshold, -1)

    @property
    def expected_steps(self) -> float:
        """Steps of a training whose edits are unknown: with `epochs`, as many as the original's."""
        return self.iterations if self.epochs is None else self.epochs / 3 * ORIGINAL_STEPS

    def threshold_in_use(self, calibrated: float) -> float | None:
        """Cosine above which a fact is used; None uses the nearest one always."""
        if self.mode == "original":
            return None
        return calibrated if self.threshold is None else self.threshold


# LiveEdit's threshold belongs to its encoder, multi-qa-mpnet-base-dot-v1. A plain roberta-base, the
# package's for these backbones, puts all sentences near each other, so the default calibrates.
LIVE_EDIT = LteHparams(threshold=0.3)

# YJiangcm/LTE FastChat/ft_train.sh: 3 epochs over some 60,000 rows, 2 on each of 4 GPUs at once, 16
# times for a step.
SCHEDULE: dict[str, Any] = {
    "learning_rate": 2e-5,
    "learning_rate_decay": "cosine",
    "warmup": 0.03,
    "batch_size": 128,
    "micro_batch": 8,
    "epochs": 3,
}
ORIGINAL_STEPS = 1_406  # that makes there

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
    **dict.fromkeys(("llama-2-7b", "gpt-j-6b", "gpt2-xl", "smollm2-135m"), LteHparams()),
    "liveedit": LIVE_EDIT,
    "original": replace(LteHparams(mode="original"), **SCHEDULE),
    **dict.fromkeys(("mini-llama", "mini-gptj", "mini-gpt2"), EMBEDDED),
    "default": LteHparams(),
    "tiny": TINY,
}

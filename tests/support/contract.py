"""What tests of editors build their cases from: the contract's own subjects and probes."""

from bench.checks.contract.subjects import (
    TEMPLATES,
    InterruptedEditError,
    Subject,
    counted_head,
    interrupted_head,
    leftovers,
    log_probability,
    logits,
    targets,
    tuned,
    weights,
)

__all__ = [
    "TEMPLATES",
    "InterruptedEditError",
    "Subject",
    "counted_head",
    "interrupted_head",
    "leftovers",
    "log_probability",
    "logits",
    "targets",
    "tuned",
    "weights",
]

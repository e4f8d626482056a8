"""What transformers reports of weights that it read, as sentences where they do not fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

_SHOWN = 3


def check_report(
    report: Mapping[str, Any], directory: Path, *, optional: Collection[str] = ()
) -> None:
    """Refuse weights that lack tensors of the model, or have them in another shape.

    Args:
        report: what `from_pretrained(..., output_loading_info=True)` returns beside the model.
        directory: where they were read from.
        optional: first parts of names that may be missing.

    Raises:
        ValueError: with the first tensors' names.
    """
    missing = sorted(
        name for name in report["missing_keys"] if name.partition(".")[0] not in optional
    )
    if missing:
        raise ValueError(
            f"The weights in {directory} lack tensors of the model: {', '.join(missing[:_SHOWN])}."
        )
    for name, found, wanted in sorted(report["mismatched_keys"], key=str):
        raise ValueError(
            f"The weights in {directory} have {name} in the shape {tuple(found)}, but its "
            f"config.json wants {tuple(wanted)}."
        )

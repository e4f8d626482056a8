"""From a learner to an artefact: one training run, finished, resumed or already done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from editors.parts.artefact import checkpoint_path, read_header, rounded, write_artefact
from editors.parts.training.loop import Learner, LoopSettings, Progress, TrainingLoop
from editors.parts.training.state import check_identity


def trained_artefact(
    path: Path,
    identity: Mapping[str, Any],
    make_learner: Callable[[], Learner],
    settings: LoopSettings,
    *,
    dtype: str = "float32",
    progress: Progress | None = None,
) -> Path:
    """Train, and write the selected weights with a header that says how they came about.

    An unfinished run of the same identity is continued from its last checkpoint, which lies beside
    the artefact until training ends; a finished one is left as it is.

    Args:
        path: of the artefact.
        identity: everything that the result depends on, as plain JSON values.
        make_learner: called only if there is something to train.
        settings: of the loop.
        dtype: of the weights on disk (`float32` or `float16`); they are rounded once, before they
            are validated.
        progress: called after each step.

    Returns:
        `path`.

    Raises:
        ValueError: the artefact or checkpoint of another run lies there, or training diverged.
    """
    if path.exists():
        check_identity(path, read_header(path), identity)
        return path
    learner = make_learner()
    loop = TrainingLoop(learner, settings)
    loop.run(checkpoint_path(path), identity, progress)
    best = rounded(loop.best, dtype)
    learner.network.load_state_dict({name: tensor.float() for name, tensor in best.items()})
    validation = {"validation": learner.validation()}
    write_artefact(path, best, {**identity, **loop.summary(), **validation})
    checkpoint_path(path).unlink()
    return path


def untrained_artefact(
    path: Path, tensors: Mapping[str, Tensor], identity: Mapping[str, Any], *, dtype: str
) -> Path:
    """Write weights as they are, with a header that says that nothing was trained; `path`."""
    write_artefact(path, rounded(tensors, dtype), {**identity, "untrained": True})
    return path

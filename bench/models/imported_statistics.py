"""Key statistics that other programs computed: files as the code of ROME and MEMIT stores them.

A file is of one layer and named after its module, `model.layers.4.mlp.down_proj_float32_mom2_
100000.npz`. It holds the sum of k k^T over tokens (`mom2.mom2`) and how many these were
(`mom2.count`); the covariance is the one over the other.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from editors.parts.covariance import SecondMoment
    from editors.parts.language_model import LanguageModel

SUFFIX = ".npz"
ELSEWHERE = "statistics"  # what the identity of such files begins with
_SUM, _COUNT = "mom2.mom2", "mom2.count"
_MODULE = re.compile(r"(?P<module>[\w.]+?)_float\d+_mom2_")


def files_at(place: Path) -> list[Path]:
    """The files of a directory in the order of their paths, or the one file."""
    files = [place] if place.is_file() else sorted(place.rglob("*"))
    return [path for path in files if path.suffix == SUFFIX]


def moment_of(lm: LanguageModel, layer: int, place: Path) -> SecondMoment:
    """The statistics of a layer.

    Raises:
        FileNotFoundError: none of the files is of it.
        ValueError: a file that cannot be read, or is of another model; too few tokens.
    """
    import torch

    from editors.parts.covariance import SecondMoment, check_tokens

    path = lm.architecture.mlp_out.format(layer)
    matches = [(_MODULE.match(file.name), file) for file in files_at(place)]
    named = {match["module"]: file for match, file in matches if match}
    if path not in named:
        there = ", ".join(sorted(named)) or "no file named as ROME's code names them"
        raise FileNotFoundError(f"No statistics of {path} in {place}: {there}.")
    file = named[path]
    try:
        with np.load(file, allow_pickle=False) as stored:
            matrix, tokens = stored[_SUM], int(stored[_COUNT])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        wanted = f"wanted {_SUM} and {_COUNT} of ROME's code"
        raise ValueError(f"{file} cannot be read: {wanted} ({error}).") from error
    weight = lm.module(lm.architecture.mlp_out, layer).get_parameter("weight")
    size = lm.architecture.as_out_in(weight).shape[1]
    if matrix.shape != (size, size):
        shape = " x ".join(map(str, matrix.shape))
        raise ValueError(f"{file} is of {shape}, but keys of {lm.name} have {size} dimensions.")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{file} holds values that are no finite numbers.")
    check_tokens(layer, tokens, size)
    return SecondMoment(matrix=torch.from_numpy(matrix).double() / tokens, tokens=tokens)

"""The data of Figure 4 on disk: one JSON file, which is the same for the same input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.files import write_text

SCHEMA = 1
_PARTS = ("settings", "cells", "missing", "versions", "names", "prompts", "nearness")


def write_map(data: Mapping[str, Any], path: Path) -> Path:
    """Write the data; returns `path`.

    Raises:
        OSError: the place cannot be written.
    """
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return write_text(path, text + "\n")


def read_map(path: Path) -> dict[str, Any]:
    """The data that `write_map` wrote.

    Raises:
        FileNotFoundError: no such file, with the command that makes it.
        ValueError: a file of another kind or schema.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"No data of Figure 4 at {path}; python -m bench figures --figure 4 --compute makes it."
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} holds no data of Figure 4.") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError(f"{path} holds no data of Figure 4 of schema {SCHEMA}.")
    absent = [part for part in _PARTS if part not in data]
    if absent:
        raise ValueError(f"{path} lacks {', '.join(absent)} of Figure 4.")
    return data

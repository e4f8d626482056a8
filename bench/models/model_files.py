"""What a model directory may hold to be loaded: safetensors, and no code of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from editors.parts.checks import check_file_name

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
IMPORT = "python -m bench import-weights"
_CONFIGURATIONS = ("config.json", "tokenizer_config.json", "generation_config.json")
# Entries by which a configuration asks for Python files of its repository.
_CODE = ("auto_map", "trust_remote_code", "custom_generate")


def check_weights(directory: Path) -> None:
    """Refuse a directory without safetensors, or whose index names files that it has not.

    Raises:
        ValueError: only pickled weights, or none; an index that leads elsewhere.
        FileNotFoundError: a file of the index is missing.
    """
    if not any(directory.glob("*.safetensors")):
        pickled = sorted(p.name for pattern in PICKLED for p in directory.glob(pattern))
        if not pickled:
            raise ValueError(f"{directory} holds no *.safetensors weights.")
        raise ValueError(
            f"{directory} holds no *.safetensors weights, only pickled weights "
            f"({', '.join(pickled[:3])}); pickles are never loaded, `{IMPORT} {directory}` "
            "converts them to safetensors first."
        )
    for index in sorted(directory.glob("*.safetensors.index.json")):
        _check_index(index)


def check_no_code(directory: Path) -> None:
    """Refuse a directory whose configuration asks for Python files of its own.

    Raises:
        ValueError: it does.
        OSError: a configuration cannot be read.
    """
    for path in (directory / name for name in _CONFIGURATIONS):
        if not path.exists():
            continue
        found = json_object(path)
        asked = [name for name in _CODE if found.get(name) not in (None, False)]
        if asked:
            raise ValueError(
                f"{path} asks for remote code ({asked[0]}), which is never run; weights of a "
                f"known architecture load without that entry, pickled ones after `{IMPORT} FILE`."
            )


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON, or another value.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"No {path.name} in {path.parent}.") from None
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(value).__name__}.")
    return value


def _check_index(index: Path) -> None:
    files = json_object(index).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise ValueError(f"{index} is no index of weights: no weight_map.")
    for name in dict.fromkeys(map(str, files.values())):
        check_file_name(f"file in {index}", name)
        if not (index.parent / name).is_file():
            raise FileNotFoundError(f"{index} names {name}, which is not in {index.parent}.")

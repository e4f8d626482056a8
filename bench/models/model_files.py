"""Files of models: what a directory may contain to be loaded, and snapshots of the hub.

Weights are read from safetensors alone, and code of a model directory is never run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from editors.parts.checks import check_file_name

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
IMPORT = "python -m bench import-weights"
_CONFIGURATIONS = ("config.json", "tokenizer_config.json", "generation_config.json")
# Entries by which a configuration asks for Python files of its repository.
_CODE = ("auto_map", "trust_remote_code", "custom_generate")


def snapshot(repository: str, patterns: Sequence[str], *, option: str) -> Path:
    """Local snapshot of a hub repository, from the hub's cache or downloaded.

    Args:
        repository: `owner/name`.
        patterns: the files to fetch; never pickles.
        option: the command-line option that takes a local copy instead.

    Raises:
        OSError: it cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except Exception as error:  # the hub client raises many kinds: offline, gated, http, no cache
        raise OSError(
            f"Cannot get {repository} from the hub ({type(error).__name__}); check the network "
            f"and the access rights, or give the path of a local copy with {option}."
        ) from error


def check_weights(directory: Path) -> None:
    """Refuse a directory without safetensors, or with an index of files that are not in it.

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
        entries = json_object(path)
        wanted = [name for name in _CODE if entries.get(name) not in (None, False)]
        if wanted:
            raise ValueError(
                f"{path} asks for remote code ({wanted[0]}), which is never run; weights of a "
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
    for name in dict.fromkeys(weight_map(index).values()):
        if not (index.parent / name).is_file():
            raise FileNotFoundError(f"{index} names {name}, which is not in {index.parent}.")


def weight_map(index: Path) -> dict[str, str]:
    """The file of each tensor, by an index of a model in several files; all are beside the index.

    Raises:
        ValueError: no index of weights, or the name of a file that is a path.
    """
    files = json_object(index).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise ValueError(f"{index} is no index of weights: no weight_map.")
    pairs = {str(name): str(file) for name, file in files.items()}
    for name in dict.fromkeys(pairs.values()):
        check_file_name(f"file in {index}", name)
    return pairs

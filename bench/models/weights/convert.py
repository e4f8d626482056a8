"""Pickled weights of a file or of a model directory to safetensors beside them, or elsewhere.

Each file is read by a process of its own (`unpickle.py`), isolated, with a time limit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.core.files import write_text
from bench.models.backbones import READ_BESIDE_WEIGHTS
from bench.models.model_files import PICKLED
from bench.models.weights import unpickle_path
from editors.parts.checks import check_file_name

SECONDS = 1800.0  # for one file, ours: ten gigabytes from a slow disk
INDEX = "pytorch_model.bin.index.json"
_MAIN = "pytorch_model.bin"
_OLD, _NEW = "pytorch_model", "model"  # how Hugging Face names weights in either form


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What is to be read, and where each file goes."""

    files: Mapping[Path, Path]  # pickled file -> safetensors file
    index: tuple[Path, Path] | None = None  # of a model in several files: old, new
    beside: tuple[Path, ...] = ()  # configuration and tokenizer, to be copied along


def conversion_of(source: Path, out: Path | None) -> Conversion:
    """What converting a file or a model directory means.

    Raises:
        OSError: nothing is there.
        ValueError: no pickled weights, several without an index, or safetensors already.
    """
    if source.is_file():
        if source.suffix == ".safetensors":
            raise ValueError(f"{source} is a safetensors file already.")
        return Conversion(files={source: (out or source.parent) / _renamed(source.name)})
    if not source.is_dir():
        raise FileNotFoundError(f"No file and no model directory at {source}.")
    if out is None and any(source.glob("*.safetensors")):
        raise ValueError(f"{source} holds safetensors weights already; --out DIR converts anew.")
    target = out or source
    index = source / INDEX
    names = _sharded(index) if index.is_file() else [_single(source)]
    for name in names:
        if not (source / name).is_file():
            raise FileNotFoundError(f"{index} names {name}, which is not in {source}.")
    found = (path for pattern in READ_BESIDE_WEIGHTS for path in source.glob(pattern))
    return Conversion(
        files={source / name: target / _renamed(name) for name in names},
        index=(index, target / _renamed(INDEX)) if index.is_file() else None,
        beside=() if out is None else tuple(sorted(set(found))),
    )


def convert(conversion: Conversion) -> Iterator[Path]:
    """Write every file whole or not at all, the index last; paths as they are done.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: a file that is refused; the sentence says why.
    """
    for source, target in conversion.files.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        try:
            _unpickle(source, partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        yield target
    directory = next(iter(conversion.files.values())).parent
    for path in conversion.beside:
        yield Path(shutil.copyfile(path, directory / path.name))
    if conversion.index is not None:
        old, new = conversion.index
        yield write_text(new, json.dumps(_renamed_index(old), indent=2) + "\n")


def _unpickle(source: Path, target: Path) -> None:
    """Run the script that reads pickles, alone."""
    command = [sys.executable, "-I", str(unpickle_path()), str(source), str(target)]
    environment = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{source} was not converted within {SECONDS:.0f} seconds.") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        why = lines[-1] if lines else f"its process ended with code {done.returncode}"
        raise ValueError(f"{source} was not converted: {why}.")


def _sharded(index: Path) -> list[str]:
    """The files that an index names, each once; none of them lies elsewhere.

    Raises:
        ValueError: no index, or a name that is a path.
    """
    names = dict.fromkeys(_weight_map(index).values())
    for name in names:
        check_file_name(f"file in {index}", name)
    return list(names)


def _single(directory: Path) -> str:
    found = sorted({path.name for pattern in PICKLED for path in directory.glob(pattern)})
    if _MAIN in found:
        return _MAIN
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{directory} holds several pickled files ({', '.join(found[:5])}) and no {INDEX}; "
            "name the one with the weights."
        )
    raise ValueError(f"{directory} holds no pickled weights ({', '.join(PICKLED)}).")


def _renamed(name: str) -> str:
    """`pytorch_model*.bin` to `model*.safetensors`; other names keep their stem."""
    stem, dot, rest = name.partition(".")
    new = f"{_NEW}{stem.removeprefix(_OLD)}" if stem.startswith(_OLD) else stem
    if rest == "bin.index.json":
        return f"{new}.safetensors.index.json"
    kept = rest.rpartition(".")[0]  # of a name with further dots
    return f"{new}{dot * bool(kept)}{kept}.safetensors"


def _renamed_index(old: Path) -> dict[str, object]:
    index = json.loads(old.read_text(encoding="utf-8"))
    renamed = {name: _renamed(file) for name, file in _weight_map(old).items()}
    return {**index, "weight_map": renamed}


def _weight_map(index: Path) -> dict[str, str]:
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        pairs = {str(name): str(file) for name, file in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{index} is no index of weights: no weight_map.") from error
    if not pairs:
        raise ValueError(f"{index} names no weights.")
    return pairs

"""Pickled weights of a file or of a model directory to safetensors beside them, or elsewhere.

Each file is read by a process of its own (`unpickle.py`), isolated, with a time limit. That script
is never imported.
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
from bench.models.inspection import PICKLED, json_object, weight_map

SECONDS = 1800.0  # for one file, ours: ten gigabytes from a slow disk
UNPICKLE = Path(__file__).parent / "unpickle.py"
INDEX = "pytorch_model.bin.index.json"
_MAIN = "pytorch_model.bin"
_OLD, _NEW = "pytorch_model", "model"  # how Hugging Face names weights in either form


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """The files to read, and the file that each is written to."""

    files: Mapping[Path, Path]  # pickled file -> safetensors file
    index: tuple[Path, Path] | None = None  # of a model in several files: old, new
    beside: tuple[Path, ...] = ()  # configuration and tokenizer, to be copied along


def conversion_of(source: Path, out: Path | None) -> Conversion:
    """The conversion of a file or a model directory; errors say why there is none."""
    if source.is_file():
        if source.suffix == ".safetensors":
            raise ValueError(f"{source} is a safetensors file already.")
        return Conversion(files={source: (out or source.parent) / _renamed(source.name)})
    if not source.is_dir():
        raise FileNotFoundError(f"No file and no model directory at {source}.")
    if out is None and any(source.glob("*.safetensors")):
        raise ValueError(f"{source} holds safetensors weights already; --out DIR converts again.")
    target = out or source
    index = source / INDEX
    sharded = index.is_file()
    names = dict.fromkeys(weight_map(index).values()) if sharded else [_single(source)]
    for name in names:
        if not (source / name).is_file():
            raise FileNotFoundError(f"{index} names {name}, which is not in {source}.")
    others = {path for pattern in READ_BESIDE_WEIGHTS for path in source.glob(pattern)}
    return Conversion(
        files={source / name: target / _renamed(name) for name in names},
        index=(index, target / _renamed(INDEX)) if sharded else None,
        beside=() if out is None else tuple(sorted(others)),
    )


def convert(conversion: Conversion) -> Iterator[Path]:
    """Write every file whole or not at all, the index last; yields each path when it is written."""
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
        files = {tensor: _renamed(name) for tensor, name in weight_map(old).items()}
        yield write_text(
            new, json.dumps({**json_object(old), "weight_map": files}, indent=2) + "\n"
        )


def _unpickle(source: Path, target: Path) -> None:
    """Run the script that reads pickles, alone."""
    command = [sys.executable, "-I", str(UNPICKLE), str(source), str(target)]
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


def _single(directory: Path) -> str:
    names = sorted({path.name for pattern in PICKLED for path in directory.glob(pattern)})
    if _MAIN in names:
        return _MAIN
    if len(names) == 1:
        return names[0]
    if names:
        raise ValueError(
            f"{directory} holds several pickled files ({', '.join(names[:5])}) and no {INDEX}; "
            "name the one with the weights."
        )
    raise ValueError(f"{directory} holds no pickled weights ({', '.join(PICKLED)}).")


def _renamed(name: str) -> str:
    """`pytorch_model*.bin` to `model*.safetensors`; other names keep their stem."""
    stem, dot, rest = name.partition(".")
    new = f"{_NEW}{stem.removeprefix(_OLD)}" if stem.startswith(_OLD) else stem
    if rest == "bin.index.json":
        return f"{new}.safetensors.index.json"
    middle = rest.rpartition(".")[0]  # of a name with further dots
    return f"{new}{dot * bool(middle)}{middle}.safetensors"

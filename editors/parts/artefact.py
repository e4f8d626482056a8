"""Trained weights on disk: one safetensors file that says in its header where it comes from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from editors.base import EditSample, Resources
from editors.parts.checks import check_file_name
from editors.parts.language_model import LanguageModel

_HEADER_KEY = "artefact"  # safetensors metadata maps strings to strings: one JSON value
_DTYPES = {"float32": torch.float32, "float16": torch.float16}


def artefact_path(directory: Path, editor: str, backbone: str, data_sets: Sequence[str]) -> Path:
    """`EDITOR-BACKBONE.safetensors`, with the data set's name if it was trained on one only.

    Raises:
        ValueError: names that make no file name.
    """
    parts = [editor, backbone.replace("/", "--")]
    if len(data_sets) == 1:
        parts.append(data_sets[0])
    return directory / (check_file_name("trained editor", "-".join(parts)) + ".safetensors")


def checkpoint_path(artefact: Path) -> Path:
    """Where an unfinished training stores its state: beside its artefact, until it is done."""
    return artefact.with_suffix(".checkpoint.safetensors")


def required_encoder(resources: Resources, *, label: str) -> Path:
    """The sentence encoder's directory that an editor's resources name.

    Raises:
        ValueError: they name none.
    """
    if resources.encoder is None:
        raise ValueError(f"{label} needs the directory of a sentence encoder, got none.")
    return resources.encoder


def required_artefact(resources: Resources, *, key: str, label: str) -> Path:
    """The artefact that an editor's resources name.

    Raises:
        ValueError: they name none.
    """
    if resources.artefact is None:
        raise ValueError(
            f"{label} needs trained weights for this backbone, got none; "
            f"`python -m bench train --editor {key}` makes them."
        )
    return resources.artefact


def required_training(resources: Resources, *, label: str) -> Sequence[EditSample]:
    """The training edits that an editor's resources name.

    Raises:
        ValueError: they name none.
    """
    samples = () if resources.training is None else resources.training()
    if not samples:
        raise ValueError(f"{label} needs training edits in its resources, got none.")
    return samples


def rounded(weights: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
    """Weights as they are written to disk, as `float32` or `float16`."""
    return {name: tensor.to(_DTYPES[dtype]) for name, tensor in weights.items()}


def write_artefact(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a JSON header, under a temporary name first; no partial file is left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            partial,
            metadata={_HEADER_KEY: json.dumps(header, sort_keys=True)},
        )
        partial.chmod(0o644)  # saved for the owner alone, but to be shared
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_header(path: Path) -> dict[str, Any]:
    """The header alone.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a safetensors file that `write_artefact` wrote.
    """
    return _read(path, with_tensors=False)[1]


def read_artefact(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, header) of a file that `write_artefact` wrote; errors as in `read_header`."""
    return _read(path, with_tensors=True)


def _read(path: Path, *, with_tensors: bool) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"No trained weights at {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys() if with_tensors else ()
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}.") from error
    if _HEADER_KEY not in metadata:
        raise ValueError(f"{path} has no {_HEADER_KEY!r} header; it was not written by training.")
    return tensors, json.loads(metadata[_HEADER_KEY])


def files_digest(paths: list[Path]) -> str:
    """sha256 over names and contents of files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def backbone_facts(lm: LanguageModel) -> dict[str, Any]:
    """The model that weights were trained for, as headers describe it."""
    return {
        "backbone": lm.name,
        "backbone_digest": lm.digest,
        "backbone_dtype": str(lm.dtype).removeprefix("torch."),
    }


def data_facts(samples: Mapping[str, Sequence[EditSample]]) -> dict[str, Any]:
    """Number and digest of each data set's samples.

    Raises:
        ValueError: no data set at all.
    """
    if not samples:
        raise ValueError("Training needs at least one data set, got none.")
    return {
        name: {
            "samples": len(rows),
            "sha256": hashlib.sha256("\n".join(map(repr, rows)).encode()).hexdigest(),
        }
        for name, rows in samples.items()
    }


def check_identity(path: Path, header: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse the file of another training run.

    Raises:
        ValueError: by the first difference.
    """
    wanted = json.loads(json.dumps(wanted))  # as the file spells it
    for key, value in wanted.items():
        if header.get(key) != value:
            raise ValueError(
                f"{path} belongs to another training run: {key} is "
                f"{header.get(key)!r} there and {value!r} here. Delete the file (--overwrite), "
                "or write somewhere else."
            )


def check_fits(
    path: Path,
    header: Mapping[str, Any],
    wanted: Mapping[str, Any],
    *,
    facts: Sequence[str],
    hparams: Sequence[str],
) -> None:
    """Refuse weights that were trained for something else than a run would write (`wanted`).

    `facts` and `hparams` name what must agree; the backbone's digest is compared where both know
    it.

    Raises:
        ValueError: by the first difference.
    """
    wanted = json.loads(json.dumps(wanted))
    pairs = [(key, header.get(key), wanted[key]) for key in facts]
    if wanted["backbone_digest"] and header.get("backbone_digest"):
        pairs.append(("backbone_digest", header["backbone_digest"], wanted["backbone_digest"]))
    trained = header.get("hparams", {})
    pairs += [(name, trained.get(name), wanted["hparams"].get(name)) for name in hparams]
    for name, there, value in pairs:
        if there != value:
            raise ValueError(
                f"The trained weights at {path} do not fit: {name} is {there!r} there, "
                f"wanted {value!r}."
            )

"""Files that are what they were when they were made: compared with the digests beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.core.digests import cached_digest, digest_of_file
from bench.core.files import write_text

MANIFEST = "manifest.json"  # beside the folders of models, see `bench.world.build`
DIGESTS = "digests.json"  # in a folder of made files


class DamagedFileError(ValueError):
    """Files of a model or of made data, or trained weights, that are not what was written."""


def check_model(directory: Path, remedy: str) -> None:
    """Compare a model's files with the manifest in the folder above, where that names them.

    Args:
        directory: of the model.
        remedy: what brings the files back, for the message.

    Raises:
        DamagedFileError: a file is missing, or not the one of its digest; or the manifest
            cannot be read.
    """
    manifest = directory.parent / MANIFEST
    if not manifest.exists():
        return
    files = _json(manifest).get("models", {}).get(directory.name, {}).get("files", {})
    _check(directory, files, manifest, remedy)


def seal(directory: Path) -> None:
    """Write the digests of all files of a folder beside them."""
    digests = {path.name: digest_of_file(path) for path in sorted(directory.iterdir())}
    (directory / DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", "utf-8")


def check_sealed(directory: Path, remedy: str) -> None:
    """Compare the files of a folder with what `seal` wrote there, if it did.

    Raises:
        DamagedFileError: a file is missing or another one; or the digests cannot be read.
    """
    digests = directory / DIGESTS
    if digests.exists():
        _check(directory, _json(digests), digests, remedy)


def seal_beside(path: Path, content: bytes) -> None:
    """Write the digest of what a file is about to hold beside it.

    Raises:
        OSError: it cannot be written.
    """
    write_text(_beside(path), hashlib.sha256(content).hexdigest() + "\n")


def check_beside(path: Path, remedy: str) -> None:
    """Compare a file with what `seal_beside` wrote, where it did.

    Raises:
        DamagedFileError: the file is another one.
    """
    try:
        digest = _beside(path).read_bytes().strip()
    except FileNotFoundError:
        return
    if digest != cached_digest(path).encode():
        raise DamagedFileError(
            f"{path} is damaged: its sha256 is not the one in {_beside(path).name}. {remedy}"
        )


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def check_trained(path: Path, remedy: str) -> None:
    """Compare an editor's trained weights with the report of their training, where there is one.

    Raises:
        DamagedFileError: they are not the report's, or it cannot be read.
    """
    report = report_of(path)
    if report.exists() and not is_reported(path):
        raise DamagedFileError(
            f"{path} is damaged: its sha256 is not the one in {report.name}. {remedy}"
        )


def is_reported(path: Path) -> bool:
    """Whether trained weights are those that their report is about.

    Raises:
        DamagedFileError: the report cannot be read.
    """
    found = _json(report_of(path)).get("artefact", {}).get("sha256")
    return bool(found == cached_digest(path))


def report_of(path: Path) -> Path:
    """Where the report of the training that made these weights is."""
    return path.with_suffix(".report.json")


def _check(directory: Path, files: Mapping[str, str], named_by: Path, remedy: str) -> None:
    for name, digest in files.items():
        path = directory / name
        if not path.is_file():
            raise DamagedFileError(f"{path} is missing, which {named_by} names. {remedy}")
        if cached_digest(path) != digest:
            raise DamagedFileError(
                f"{path} is damaged: its sha256 is not the one in {named_by}. {remedy}"
            )


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged: it is no JSON text in UTF-8.") from error
    if not isinstance(found, dict):
        raise DamagedFileError(f"{path} is damaged: it holds no JSON object.")
    return found

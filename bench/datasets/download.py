"""The published files of edit sets: downloaded from their pinned revision, and verified.

The one place where the network is used for edit sets. Written by hand because neither pooch nor
huggingface_hub continues an interrupted file of GitHub, bounds its size and checks git blob ids.
"""

from __future__ import annotations

import http.client
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from threading import Thread
from typing import Any, Literal
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from bench.core.progress import show_bytes
from bench.datasets.base import (
    UNSTATED,
    EditDataset,
    LoadedSamples,
    PublishedFile,
    Split,
    git_blob_id,
    locate,
)

RAW, GITHUB = "https://raw.githubusercontent.com", "https://github.com/"
HUB = "https://huggingface.co/datasets/"
# Ours: far above what a row of any of the sets has, and a bound for the largest.
MOST_ROW_BYTES, MOST_BYTES = 64 * 1024, 1024**3
CONNECT_SECONDS = 5.0  # for one address, and between two pieces of a file
ANSWER_SECONDS = 10.0  # for all addresses of a host together, name look-up included
ATTEMPTS = 4  # in a row without a new byte
_PIECE = 1 << 16
_LOCAL = ("127.0.0.1", "localhost")

Report = Callable[[int, int | None], None]  # (bytes present, bytes of the whole file if known)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A published file that is present now."""

    label: str  # of the data set, and the split
    path: Path
    state: Literal["fetched", "there"]


def fetch(
    datasets: Iterable[EditDataset], directory: Path | None, *, mirror: str = RAW
) -> Iterator[Fetched]:
    """Fetch the files of each data set that are not present, at their repository's paths.

    Args:
        datasets: which.
        directory: where to; by default named after the source repository, as git would name it.
        mirror: an https address with GitHub's raw layout: OWNER/REPOSITORY/REVISION/PATH.

    Raises:
        OSError: a file cannot be fetched or written; what was fetched before stays.
        ValueError: a data set whose files' hashes are not known; nothing is fetched.
    """
    datasets = tuple(datasets)
    for dataset in datasets:
        if not is_fetchable(dataset):
            raise ValueError(
                f"The files of {dataset.label} cannot be fetched and verified, as their hashes are "
                f"not known; get them by hand: {by_hand(dataset)}"
            )
    for dataset in datasets:
        target = directory or Path(dataset.source.rpartition("/")[2])
        for split, file in dataset.files.items():
            label, path = f"{dataset.label} {split}", _present(file, target)
            if path is not None:
                yield Fetched(label=label, path=path, state="there")
            else:
                _fetch_file(dataset, file, target, mirror)
                yield Fetched(label=label, path=target / file.path, state="fetched")


def is_fetchable(dataset: EditDataset) -> bool:
    """Whether its files are on GitHub, each with a known hash."""
    on_github = dataset.source.startswith(GITHUB)
    return on_github and all(file.git_blob for file in dataset.files.values())


def by_hand(dataset: EditDataset) -> str:
    """The command that gets the files of a data set without this package."""
    if dataset.source.startswith(GITHUB):
        folder = dataset.source.rpartition("/")[2]
        return f"git clone {dataset.source} && git -C {folder} checkout {dataset.revision}"
    if not dataset.source.startswith(HUB):
        return f"curl -O {dataset.source}"
    name, pinned = dataset.source.removeprefix(HUB), dataset.revision != UNSTATED
    revision = f" --revision {dataset.revision}" if pinned else ""
    return f"hf download {name} --repo-type dataset{revision} --local-dir DIR"


def url_of(dataset: EditDataset, file: PublishedFile, mirror: str = RAW) -> str:
    """The address of a file of the pinned revision; errors as of `check_url`."""
    repository = urlsplit(dataset.source).path.strip("/")
    parts = (mirror.rstrip("/"), repository, dataset.revision, quote(file.path))
    return check_url("/".join(parts))


def check_url(url: str) -> str:
    """The address, if it is https, or http on this machine (for tests); ValueError for others."""
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _LOCAL
    if not local and (parts.scheme != "https" or not parts.hostname):
        raise ValueError(f"Only https addresses are read, got {url!r}.")
    return url


def _present(file: PublishedFile, directory: Path) -> Path | None:
    """The published file, wherever below the directory it is."""
    try:
        path = locate(file, directory)
    except (OSError, ValueError):  # no such directory or file, or several
        path = directory / file.path
    return path if path.is_file() and git_blob_id(path.read_bytes()) == file.git_blob else None


def _fetch_file(dataset: EditDataset, file: PublishedFile, directory: Path, mirror: str) -> None:
    url, path = url_of(dataset, file, mirror), directory / file.path
    most = min(file.rows * MOST_ROW_BYTES, MOST_BYTES)
    try:
        with show_bytes(file.name) as report:
            Download(url=url, target=path, git_blob=file.git_blob, most=most, report=report).run()
    except DownloadError as error:
        raise OSError(
            f"Cannot get {url} ({error}); put the file at {path} by hand and check it with "
            f"`python -m bench data verify {directory}` (git blob {file.git_blob})."
        ) from error


# ---- one file ----------------------------------------------------------------------------------


class DownloadError(OSError):
    """A file that cannot be fetched; the message is a clause that says why."""


@dataclass(frozen=True, kw_only=True)
class Download:
    """A download of one file, which continues from what an interrupted one has left."""

    url: str
    target: Path
    git_blob: str
    most: int  # bytes, at most
    report: Report

    def run(self) -> None:
        """Put the file in place once it is verified; a DownloadError leaves its place empty."""
        unfinished = self._partial
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        continued = unfinished.exists()
        self._complete()
        if continued and not self._is_right():  # its beginning was of something else
            unfinished.unlink()
            self._complete()
        if not self._is_right():
            unfinished.unlink()
            raise DownloadError("what came is not the published file, and was removed")
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(self.target)

    @property
    def _partial(self) -> Path:
        return self.target.with_name(f"{self.target.name}.partial")

    def _is_right(self) -> bool:
        return git_blob_id(self._partial.read_bytes()) == self.git_blob

    def _size(self) -> int:
        return self._partial.stat().st_size if self._partial.exists() else 0

    def _complete(self) -> None:
        """Continue, as often as new bytes arrive, until the file is whole."""
        attempts = 0
        while True:
            before = self._size()
            try:
                if self._continue():
                    return
                reason = "the connection was cut"
            except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
                reason = f"the connection was cut ({type(error).__name__})"
            attempts = 0 if self._size() > before else attempts + 1
            if attempts == ATTEMPTS:
                raise DownloadError(f"{reason}; the same command continues")

    def _continue(self) -> bool:
        """Append what is missing; whether the file is whole now."""
        present = self._size()
        response = _open(self.url, present)
        if response is None:  # nothing follows what is present: all of it, or too much
            if self._is_right():
                return True
            self._partial.unlink()
            return False
        with response:
            if response.status != HTTPStatus.PARTIAL_CONTENT or _first_byte(response) != present:
                present = 0  # the whole file comes
            length = response.headers.get("Content-Length")
            whole = None if length is None else present + int(length)
            self._check_size(whole or 0)
            with self._partial.open("ab" if present else "wb") as file:
                while piece := response.read1(_PIECE):
                    present += len(piece)
                    self._check_size(present)
                    file.write(piece)
                    self.report(present, whole)
        return whole is None or present == whole

    def _check_size(self, size: int) -> None:
        if size > self.most:
            self._partial.unlink(missing_ok=True)
            raise DownloadError(f"the file is longer than the {self.most:,} bytes that it may have")


def _open(url: str, start: int) -> Any:
    """The response from a byte on, None if the file ends before it; DownloadError without any."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "lifelong-edit-bench"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = Request(check_url(url), headers=headers)  # noqa: S310 - checked: https or local
    opener = build_opener(SafeRedirects)
    try:
        return _within(ANSWER_SECONDS, lambda: opener.open(request, timeout=CONNECT_SECONDS))
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise DownloadError(f"HTTP {error.code} {error.reason}") from error
    except URLError as error:
        raise DownloadError(f"no answer: {error.reason}") from error
    except TimeoutError as error:
        raise DownloadError(f"no answer within {ANSWER_SECONDS:.0f} seconds") from error


def _first_byte(response: Any) -> int:
    """Where a partial response starts, -1 if it does not say."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


class SafeRedirects(HTTPRedirectHandler):
    """Follows redirections to https only, from a mirror on this machine too."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise DownloadError(f"a redirection to {newurl!r}, which is not https, is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """The value of a call, TimeoutError if it takes longer: name look-ups have no time limit."""
    outcome: Future[Any] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except Exception as error:  # noqa: BLE001 - raised again by the waiting thread
            outcome.set_exception(error)

    Thread(target=run, daemon=True).start()
    return outcome.result(seconds)


# ---- verification ------------------------------------------------------------------------------

State = Literal["full", "partial", "unverified", "different", "unusable", "missing"]
WRONG: frozenset[State] = frozenset({"different", "unusable", "missing"})


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The state of one split's file.

    `full` is the published file, byte for byte; `partial` a readable file with fewer rows;
    `different` a readable file with at least as many rows and another content; `unverified` one
    with at least as many rows, where no hash of the published file is known.
    """

    dataset: str
    split: Split
    state: State
    published_rows: int
    detail: str  # the error, or a remark on what was read
    loaded: LoadedSamples | None = None

    @property
    def wrong(self) -> bool:
        return self.state in WRONG


def verify(datasets: Iterable[EditDataset], directory: Path) -> Iterator[Finding]:
    """Check the files of every split of each data set, in order; a bad file raises nothing."""
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} is not a directory: wanted one with data files.")
    for dataset in datasets:
        for split in dataset.files:
            yield _finding(dataset, split, directory)


def _finding(dataset: EditDataset, split: Split, directory: Path) -> Finding:
    published = dataset.files[split]
    finding = partial(Finding, dataset=dataset.label, split=split, published_rows=published.rows)
    try:
        loaded = dataset.load(split, directory)
    except FileNotFoundError as error:
        return finding(state="missing", detail=str(error))
    except (ValueError, OSError) as error:
        return finding(state="unusable", detail=str(error))
    if loaded.digest == published.git_blob:
        return finding(state="full", detail="the published file", loaded=loaded)
    if loaded.rows < published.rows:
        fewer = f"{published.rows - loaded.rows:,} rows fewer than the published file"
        return finding(state="partial", detail=fewer, loaded=loaded)
    if not published.git_blob:
        detail = "no hash of the published file is known"
        return finding(state="unverified", detail=detail, loaded=loaded)
    detail = f"not the published content (wanted git blob {published.git_blob})"
    return finding(state="different", detail=detail, loaded=loaded)

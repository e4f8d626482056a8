"""One file over https: bounded, resumable, and in place only once it is what it should be."""

from __future__ import annotations

import http.client
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

CONNECT_SECONDS = 5.0  # for one address, and between two pieces of a file
ANSWER_SECONDS = 10.0  # for all addresses of a host together, name look-up included
ATTEMPTS = 4  # in a row that bring nothing new
_PIECE = 1 << 16
_LOCAL = ("127.0.0.1", "localhost")

Told = Callable[[int, int | None], None]  # (bytes there, bytes of the whole file if known)


class DownloadError(OSError):
    """A file that cannot be had; the message is a clause that says why."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file, where it goes and how it is known."""

    url: str
    target: Path
    most: int  # bytes, at most
    right: Callable[[Path], bool]  # whether a file is the wanted one


def check_url(url: str) -> str:
    """The address, if it may be read: https, or http on this machine (a mirror for tests).

    Raises:
        ValueError: any other.
    """
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _LOCAL
    if not local and (parts.scheme != "https" or not parts.hostname):
        raise ValueError(f"Only https addresses are read, got {url!r}.")
    return url


def download(wanted: Wanted, told: Told) -> None:
    """Put the file in place. What is left of an interrupted download is continued.

    Raises:
        DownloadError: it cannot be had, or is another one; nothing is left in its place.
        OSError: the disk cannot be written.
    """
    partial = wanted.target.with_name(f"{wanted.target.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    continued = partial.exists()
    _complete(wanted, partial, told)
    if continued and not wanted.right(partial):  # its beginning was of something else
        partial.unlink()
        _complete(wanted, partial, told)
    if not wanted.right(partial):
        partial.unlink()
        raise DownloadError("what came is not the published file, and was removed")
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(wanted.target)


def _complete(wanted: Wanted, partial: Path, told: Told) -> None:
    """Read on, as often as new bytes arrive, until the file is whole."""
    attempts = 0
    while True:
        before = _size(partial)
        try:
            if _read_on(wanted, partial, told):
                return
            reason = "the connection was cut"
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            reason = f"the connection was cut ({type(error).__name__})"
        attempts = 0 if _size(partial) > before else attempts + 1
        if attempts == ATTEMPTS:
            raise DownloadError(f"{reason}; the same command continues")


def _read_on(wanted: Wanted, partial: Path, told: Told) -> bool:
    """Append what is missing; whether the file is whole now."""
    there = _size(partial)
    response = _opened(wanted.url, there)
    if response is None:  # nothing lies behind what is there: all of it, or too much
        if wanted.right(partial):
            return True
        partial.unlink()
        return False
    with response:
        if response.status != HTTPStatus.PARTIAL_CONTENT or _start(response) != there:
            there = 0  # the whole file comes
        length = response.headers.get("Content-Length")
        whole = None if length is None else there + int(length)
        _check_size(whole or 0, wanted.most)
        with partial.open("ab" if there else "wb") as file:
            while piece := response.read1(_PIECE):
                there += len(piece)
                _check_size(there, wanted.most, partial)
                file.write(piece)
                told(there, whole)
    return whole is None or there == whole


def _check_size(size: int, most: int, partial: Path | None = None) -> None:
    if size <= most:
        return
    if partial is not None:
        partial.unlink(missing_ok=True)
    raise DownloadError(f"the file is longer than the {most:,} bytes that it may have")


def _start(response: Any) -> int:
    """Where a part begins, -1 where the answer does not say."""
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _opened(url: str, start: int) -> Any:
    """The answer from a byte on; None where there is nothing from there on.

    Raises:
        DownloadError: no answer, a refusal, or a redirection that is not followed.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": "lifelong-edit-bench"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = Request(check_url(url), headers=headers)  # noqa: S310 - checked: https or local
    try:
        return _within(ANSWER_SECONDS, lambda: _opener().open(request, timeout=CONNECT_SECONDS))
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise DownloadError(f"HTTP {error.code} {error.reason}") from error
    except URLError as error:
        raise DownloadError(f"no answer: {error.reason}") from error
    except TimeoutError as error:
        raise DownloadError(f"no answer within {ANSWER_SECONDS:.0f} seconds") from error


def _opener() -> OpenerDirector:
    return build_opener(_SafeRedirects)


class _SafeRedirects(HTTPRedirectHandler):
    """Follows to https alone; even a mirror on this machine leads nowhere else."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        if urlsplit(newurl).scheme != "https":
            fp.close()
            raise DownloadError(f"a redirection to {newurl!r}, which is not https, is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """The value of a call that is not waited for longer; name look-ups know no time limit.

    Raises:
        TimeoutError: it takes longer; also everything that the call raises.
    """
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001 - raised again by the waiting thread
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError
    return found[0]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

"""`data fetch`, from a server on this machine that cuts, lies, redirects or is not there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.datasets import download, get_dataset
from bench.datasets.base import PublishedFile, git_blob_id
from bench.datasets.download import Download, DownloadError, check_url, fetch, url_of

CONTENT = {
    "data/train.json": b"[" + b'{"a": 1},' * 20_000 + b"{}]",
    "data/test.json": b'[{"b": 2}]',
}


class Server(ThreadingHTTPServer):
    """On a free port of this machine: what it answers, and the requests that it has got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.files = dict(CONTENT)
        self.requests: list[tuple[str, str | None]] = []  # (file, range)
        self.cut_after: int | None = None  # bytes of each answer, then the connection ends
        self.ranges = self.lengths = True
        self.redirect: str | None = None

    def path(self, name: str) -> str:
        return f"/qizhou000/RECIPE/{get_dataset('zsre').revision}/{name}"


class Handler(BaseHTTPRequestHandler):
    """Answers by the state of its server."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        name = {server.path(name): name for name in server.files}.get(self.path)
        server.requests.append((name or self.path, self.headers.get("Range")))
        if server.redirect is not None:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
        elif name is None:
            self.send_error(404)
        else:
            self.send(server, server.files[name])

    def send(self, server: Server, content: bytes) -> None:
        wanted = self.headers.get("Range") if server.ranges else None
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if wanted and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/*")
        if server.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content) if server.cut_after is None else start + server.cut_after
        self.wfile.write(content[start:end])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """ZSRE as two small files, and no proxy before this machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    files = {
        Path(path).stem: PublishedFile(
            path=path, variants=(), rows=3, git_blob=git_blob_id(content)
        )
        for path, content in CONTENT.items()
    }
    monkeypatch.setattr(type(get_dataset("zsre")), "files", files)


def fetched(server: Server, directory: Path) -> list[str]:
    return [file.state for file in fetch([get_dataset("zsre")], directory, mirror=server.address)]


def everything_below(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.rglob("*") if p.is_file())


def test_files_lie_as_in_their_repository_and_come_once(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["data", "fetch", "ZSRE", "--to", str(tmp_path), "--mirror", server.address]
    assert main(words) == 0
    for name, content in CONTENT.items():
        assert (tmp_path / name).read_bytes() == content
    assert everything_below(tmp_path) == ["test.json", "train.json"]  # no partial is left
    assert f"ZSRE train: fetched, verified: {tmp_path}" in capsys.readouterr().out
    assert main(words) == 0
    assert len(server.requests) == 2
    assert "ZSRE test: there, verified" in capsys.readouterr().out


def test_a_file_that_is_not_the_published_one_is_fetched_again(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.json").write_text("[]")
    (tmp_path / "train.json").write_bytes(CONTENT["data/train.json"])  # anywhere below is there
    assert fetched(server, tmp_path) == ["there", "fetched"]
    assert len(server.requests) == 1
    assert (tmp_path / "data" / "test.json").read_bytes() == CONTENT["data/test.json"]


def test_a_cut_connection_is_resumed_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.cut_after = 70_000
    assert fetched(server, tmp_path) == ["fetched", "fetched"]
    ranges = [asked for name, asked in server.requests if name == "data/train.json"]
    assert ranges == [None, "bytes=70000-", "bytes=140000-"]


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    "beginning",
    [b"x" * 1_000, b"y" * 500_000, CONTENT["data/train.json"], CONTENT["data/train.json"][:10]],
    ids=["changed", "changed and too long", "whole", "a part"],
)
def test_whatever_was_left_ends_in_the_published_file(
    server: Server, tmp_path: Path, beginning: bytes, ranges: bool
) -> None:
    server.ranges = ranges
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.json.partial").write_bytes(beginning)
    fetched(server, tmp_path)
    assert server.requests[0] == ("data/train.json", f"bytes={len(beginning)}-")
    assert (tmp_path / "data" / "train.json").read_bytes() == CONTENT["data/train.json"]
    assert everything_below(tmp_path) == ["test.json", "train.json"]


@pytest.mark.parametrize(
    ("fault", "value", "sentence"),
    [
        ("cut_after", 0, "connection was cut"),
        ("redirect", "http://example.invalid/x", "not https"),
        ("redirect", "ftp://example.invalid/x", "not https"),
    ],
)
def test_a_server_that_does_not_give_the_file_ends_in_a_sentence(
    server: Server, tmp_path: Path, fault: str, value: object, sentence: str
) -> None:
    setattr(server, fault, value)
    with pytest.raises(OSError, match=sentence):
        fetched(server, tmp_path)
    assert {name for name, _ in server.requests} == {"data/train.json"}


def test_another_content_leaves_nothing_in_place(server: Server, tmp_path: Path) -> None:
    server.files["data/train.json"] = b"[]"
    with pytest.raises(OSError, match="not the published file") as error:
        fetched(server, tmp_path)
    train = get_dataset("zsre").files["train"]
    url = url_of(get_dataset("zsre"), train, server.address)
    for named in (url, str(tmp_path / "data" / "train.json"), train.git_blob):
        assert named in str(error.value)
    assert everything_below(tmp_path) == []


@pytest.mark.parametrize("lengths", [True, False])
def test_a_file_that_never_ends_is_refused(
    server: Server, tmp_path: Path, lengths: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.lengths = lengths
    monkeypatch.setattr(download, "MOST_BYTES", 100_000)
    with pytest.raises(OSError, match="100,000 bytes"):
        fetched(server, tmp_path)
    assert everything_below(tmp_path) == []


def test_a_missing_file(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del server.files["data/train.json"]
    words = ["data", "fetch", "zsre", "--to", str(tmp_path), "--mirror", server.address]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "HTTP 404" in line


def test_nobody_listens(server: Server, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, so that nobody else listens there
        server.address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(OSError, match="no answer: "):
            fetched(server, tmp_path)
    assert time.monotonic() - started < 5


def test_nobody_answers_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(DownloadError, match="no answer within"):
            download_to(tmp_path / "x", url)


def download_to(target: Path, url: str, report: download.Report = lambda *_: None) -> None:
    git_blob = git_blob_id(CONTENT["data/train.json"])
    Download(url=url, target=target, git_blob=git_blob, most=10**6, report=report).run()


@pytest.mark.parametrize(
    "url",
    [
        "http://example.invalid/x",
        "http://127.0.0.1.example.invalid/x",
        "http://localhost@example.invalid/x",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "https:///x",
        "x",
    ],
)
def test_addresses_that_are_not_read(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        check_url(url)


def test_the_pinned_revision_is_what_is_read() -> None:
    zsre = get_dataset("zsre")
    assert url_of(zsre, zsre.files["test"]) == (
        "https://raw.githubusercontent.com/qizhou000/RECIPE/"
        "b8ff1fc2c649d44dc88d2d4fccfa14343066a835/data/test.json"
    )


def test_progress_is_reported_up_to_the_last_byte(server: Server, tmp_path: Path) -> None:
    reported: list[tuple[int, int | None]] = []
    url = server.address + server.path("data/train.json")
    download_to(tmp_path / "x", url, lambda *numbers: reported.append(numbers))
    whole = len(CONTENT["data/train.json"])
    assert reported[-1] == (whole, whole)
    assert [present for present, _ in reported] == sorted({present for present, _ in reported})

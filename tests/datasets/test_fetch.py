"""`data fetch`, from a server on this machine that cuts, lies, redirects or is not there."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.datasets import download as downloading
from bench.datasets import fetch as fetching
from bench.datasets import get_dataset
from bench.datasets.download import DownloadError, Wanted, check_url, download
from bench.datasets.fetch import fetch, url_of
from bench.datasets.files import PublishedFile, git_blob_id, git_blob_id_of

CONTENT = {
    "data/train.json": b"[" + b'{"a": 1},' * 20_000 + b"{}]",
    "data/test.json": b'[{"b": 2}]',
}


@dataclass
class Server:
    """Answers as told, and remembers what was asked."""

    address: str
    files: dict[str, bytes] = field(default_factory=lambda: dict(CONTENT))
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # (file, range)
    cut_after: int | None = None  # bytes of each answer, then the connection ends
    ranges: bool = True
    redirect: str | None = None
    lengths: bool = True

    def path(self, name: str) -> str:
        zsre = get_dataset("zsre")
        return f"/qizhou000/RECIPE/{zsre.revision}/{name}"


class Handler(BaseHTTPRequestHandler):
    """Looks into what the listening server was told."""

    def do_GET(self) -> None:
        assert isinstance(self.server, Listening)
        told = self.server.told
        known = {told.path(name): name for name in told.files}
        name = known.get(self.path)
        told.asked.append((name or self.path, self.headers.get("Range")))
        if told.redirect is not None:
            self.send_response(302)
            self.send_header("Location", told.redirect)
            self.end_headers()
        elif name is None:
            self.send_error(404)
        else:
            self.send(told, told.files[name])

    def send(self, told: Server, content: bytes) -> None:
        asked = self.headers.get("Range") if told.ranges else None
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/*")
        if told.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content) if told.cut_after is None else start + told.cut_after
        self.wfile.write(content[start:end])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Listening(ThreadingHTTPServer):
    """On a free port of this machine."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.told = Server(f"http://127.0.0.1:{self.server_port}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    listening = Listening()
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield listening.told
    listening.shutdown()
    listening.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """ZSRE as two small files."""
    files = {
        split: PublishedFile(
            path=f"data/{split}.json", variants=(), rows=3, git_blob=git_blob_id(CONTENT[path])
        )
        for split, path in (("train", "data/train.json"), ("test", "data/test.json"))
    }
    monkeypatch.setattr(type(get_dataset("zsre")), "files", files)


def fetched(server: Server, directory: Path) -> list[str]:
    found = fetch([get_dataset("zsre")], directory, mirror=server.address)
    return [one.state for one in found]


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
    assert len(server.asked) == 2
    assert "ZSRE test: there, verified" in capsys.readouterr().out


def test_a_file_put_by_hand_is_found_anywhere(server: Server, tmp_path: Path) -> None:
    for name, content in CONTENT.items():
        (tmp_path / Path(name).name).write_bytes(content)
    assert fetched(server, tmp_path) == ["there", "there"]
    assert server.asked == []


def test_a_file_that_is_not_the_published_one_is_fetched_again(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.json").write_text("[]")
    assert fetched(server, tmp_path) == ["fetched", "fetched"]
    assert (tmp_path / "data" / "test.json").read_bytes() == CONTENT["data/test.json"]


def test_a_cut_connection_is_resumed_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.cut_after = 70_000
    assert fetched(server, tmp_path) == ["fetched", "fetched"]
    ranges = [asked for name, asked in server.asked if name == "data/train.json"]
    assert ranges == [None, "bytes=70000-", "bytes=140000-"]


def test_the_next_command_continues(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    part = tmp_path / "data" / "train.json.partial"
    part.write_bytes(CONTENT["data/train.json"][:100_000])
    fetched(server, tmp_path)
    assert server.asked[0] == ("data/train.json", "bytes=100000-")
    assert not part.exists()


@pytest.mark.parametrize("beginning", [b"x" * 1_000, b"y" * 500_000])
def test_what_was_changed_in_between_is_fetched_anew(
    server: Server, tmp_path: Path, beginning: bytes
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.json.partial").write_bytes(beginning)
    fetched(server, tmp_path)
    assert (tmp_path / "data" / "train.json").read_bytes() == CONTENT["data/train.json"]


def test_a_whole_partial_is_only_renamed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.json.partial").write_bytes(CONTENT["data/train.json"])
    fetched(server, tmp_path)
    assert server.asked[:1] == [("data/train.json", f"bytes={len(CONTENT['data/train.json'])}-")]
    assert (tmp_path / "data" / "train.json").read_bytes() == CONTENT["data/train.json"]


def test_a_server_without_ranges_begins_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.json.partial").write_bytes(CONTENT["data/train.json"][:10])
    fetched(server, tmp_path)
    assert (tmp_path / "data" / "train.json").read_bytes() == CONTENT["data/train.json"]


def test_a_connection_that_brings_nothing_ends_in_a_sentence(
    server: Server, tmp_path: Path
) -> None:
    server.cut_after = 0
    with pytest.raises(OSError, match="the connection was cut; the same command continues"):
        fetched(server, tmp_path)


def test_another_content_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    server.files["data/train.json"] = b"[]"
    with pytest.raises(OSError, match="not the published file, and was removed") as error:
        fetched(server, tmp_path)
    sentence = str(error.value)
    train = get_dataset("zsre").files["train"]
    assert url_of(get_dataset("zsre"), train, server.address) in sentence
    assert f"put the file at {tmp_path / 'data' / 'train.json'} by hand" in sentence
    assert f"python -m bench data verify {tmp_path}` (git blob {train.git_blob})" in sentence
    assert everything_below(tmp_path) == []


@pytest.mark.parametrize("lengths", [True, False])
def test_a_file_that_never_ends_is_refused(
    server: Server, tmp_path: Path, lengths: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.lengths = lengths
    monkeypatch.setattr(fetching, "MOST_BYTES", 100_000)
    with pytest.raises(OSError, match="longer than the 100,000 bytes that it may have"):
        fetched(server, tmp_path)
    assert everything_below(tmp_path) == []


def test_a_missing_file(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del server.files["data/train.json"]
    words = ["data", "fetch", "zsre", "--to", str(tmp_path), "--mirror", server.address]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "(HTTP 404 Not Found); put the file at" in line


@pytest.mark.parametrize("target", ["http://example.invalid/x", "ftp://example.invalid/x"])
def test_redirections_lead_to_https_alone(server: Server, tmp_path: Path, target: str) -> None:
    server.redirect = target
    with pytest.raises(OSError, match="which is not https, is refused"):
        fetched(server, tmp_path)
    assert len(server.asked) == 1


def test_nobody_listens(server: Server, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, so that nobody else listens there
        server.address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(OSError, match=r"Cannot get http://127.* \(no answer: "):
            fetched(server, tmp_path)
    assert time.monotonic() - started < 5


def test_nobody_answers_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        wanted = Wanted(
            url=f"http://127.0.0.1:{silent.getsockname()[1]}/x",
            target=tmp_path / "x",
            most=10,
            right=lambda _: True,
        )
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with pytest.raises(DownloadError, match="no answer within"):
            download(wanted, lambda *_: None)


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
    with pytest.raises(ValueError, match="Only https addresses are read"):
        check_url(url)


def test_the_pinned_revision_is_what_is_read() -> None:
    zsre = get_dataset("zsre")
    assert url_of(zsre, zsre.files["test"]) == (
        "https://raw.githubusercontent.com/qizhou000/RECIPE/"
        "b8ff1fc2c649d44dc88d2d4fccfa14343066a835/data/test.json"
    )


def test_progress_is_told_of_every_byte(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    content = CONTENT["data/train.json"]
    wanted = Wanted(
        url=server.address + server.path("data/train.json"),
        target=tmp_path / "x",
        most=10**6,
        right=lambda path: git_blob_id_of(path) == git_blob_id(content),
    )
    download(wanted, lambda there, whole: told.append((there, whole)))
    assert told[-1] == (len(content), len(content))
    assert [there for there, _ in told] == sorted({there for there, _ in told})

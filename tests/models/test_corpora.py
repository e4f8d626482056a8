"""Text corpora: files, directories and the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.models.corpora import open_corpus


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.txt").write_text("Third.\n\n  Fourth. \n", encoding="utf-8")
    lines = [json.dumps({"text": text, "id": 1}) for text in ("First.", "Second\nline.")]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "README.md").write_text("No document.", encoding="utf-8")
    return tmp_path


def test_a_directory_is_read_in_the_order_of_its_paths(directory: Path) -> None:
    corpus = open_corpus(str(directory))
    assert list(corpus.texts()) == ["First.", "Second\nline.", "Third.", "Fourth."]
    assert list(corpus.texts()) == list(corpus.texts())


def test_no_more_documents_than_wanted_and_empty_ones_are_none(directory: Path) -> None:
    corpus = open_corpus(str(directory / "b"), documents=2)
    assert list(corpus.texts()) == ["Third.", "Fourth."]
    assert list(open_corpus(str(directory / "b"), documents=1).texts()) == ["Third."]


def test_the_identity_follows_contents_and_extent(directory: Path) -> None:
    corpus = open_corpus(str(directory))
    identities = {
        corpus.identity,
        open_corpus(str(directory), documents=2).identity,
        open_corpus(str(directory), tokens=9).identity,
        open_corpus(str(directory / "b")).identity,
    }
    assert len(identities) == 4
    (directory / "README.md").write_text("Notes.", encoding="utf-8")
    assert open_corpus(str(directory)) == corpus
    (directory / "b" / "one.txt").write_text("Fifth.", encoding="utf-8")
    assert open_corpus(str(directory)).identity != corpus.identity


@pytest.mark.parametrize("line", ["no json", "[1]", '{"words": 1}'])
def test_a_line_without_a_text_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(f'{{"text": "Good."}}\n{line}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"texts\.jsonl, line 2"):
        list(open_corpus(str(path)).texts())


def test_no_corpus_there(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=r"\.txt or \.jsonl"):
            open_corpus(str(place))


class Stream:
    """A stream of the hub's client, without a network."""

    def __init__(self) -> None:
        self.shuffled: dict[str, int] = {}

    def shuffle(self, *, seed: int, buffer_size: int) -> Iterator[dict[str, str]]:
        self.shuffled = {"seed": seed, "buffer_size": buffer_size}
        return iter([{"text": "An article."}, {"text": " "}, {"text": "Another."}])


def test_wikipedia_is_streamed_at_a_pinned_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()
    requested: dict[str, Any] = {}

    def load(repository: str, configuration: str, **options: Any) -> Stream:
        requested.update(options, repository=repository, configuration=configuration)
        return stream

    monkeypatch.setattr("datasets.load_dataset", load)
    corpus = open_corpus("wikipedia", documents=2)
    assert corpus.remote
    assert list(corpus.texts()) == ["An article.", "Another."]
    assert requested["streaming"] is True
    assert requested["revision"] in corpus.digest
    assert stream.shuffled["seed"] == 0


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to the host\nand more")

    monkeypatch.setattr("datasets.load_dataset", fail)
    with pytest.raises(OSError, match=r"wikimedia/wikipedia .*--corpus\.$"):
        next(open_corpus("wikipedia").texts())

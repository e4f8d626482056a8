"""Text corpora, and statistics of pristine models over them: computed once, resumable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.checks.contract.tiny import INNER, tiny_gpt2, tiny_llama
from bench.models import key_statistics
from bench.models.key_statistics import (
    Corpus,
    compute_covariances,
    context_templates,
    covariances,
    open_corpus,
    read_facts,
    read_templates,
)
from editors.parts.covariance import KeyMoments
from editors.parts.language_model import LanguageModel


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "one.txt").write_text("Third.\n\n  Fourth. \n", encoding="utf-8")
    lines = [json.dumps({"text": text, "id": 1}) for text in ("First.", "Second\nline.")]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "README.md").write_text("No document.", encoding="utf-8")
    return tmp_path


def npz(folder: Path, lm: LanguageModel, layer: int, **changes: Any) -> Path:
    """Statistics of a layer as ROME's code stores them: a sum, and how many tokens it is of."""
    name = lm.architecture.mlp_out.format(layer)
    values = {"mom2.mom2": 3 * np.eye(INNER, dtype=np.float32), "mom2.count": np.array(60)}
    path = folder / f"{name}_float32_mom2_100000.npz"
    np.savez(path, **(values | {"sample_size": np.array(100_000)} | changes))
    return path


def test_statistics_of_romes_code_are_read_as_sums_over_tokens(tmp_path: Path) -> None:
    lm = tiny_gpt2()
    npz(tmp_path, lm, 0)
    npz(tmp_path, lm, 1, **{"mom2.count": np.array(120)})
    corpus = open_corpus(str(tmp_path))
    matrices = covariances(lm, corpus, [0, 1])
    torch.testing.assert_close(matrices[0], torch.eye(INNER) / 20)
    torch.testing.assert_close(matrices[1], torch.eye(INNER) / 40)
    facts = read_facts(compute_covariances(lm, corpus, [0])[0])
    assert (facts["tokens"], facts["documents"]) == ("60", "0")
    npz(tmp_path, lm, 0, **{"mom2.count": np.array(90)})  # other contents, another identity
    torch.testing.assert_close(
        covariances(lm, open_corpus(str(tmp_path)), [0])[0], torch.eye(INNER) / 30
    )
    with pytest.raises(ValueError, match="holds statistics, and an editor reads text"):
        corpus.texts()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mom2.mom2": np.eye(3, dtype=np.float32)}, "is of 3 x 3, but keys of .* have .* dim"),
        ({"mom2.count": np.array(3)}, "3 tokens"),
        ({"mom2.mom2": np.full((INNER, INNER), np.nan)}, "no finite numbers"),
        ({"mom2.count": np.array("many")}, "cannot be read"),
    ],
)
def test_statistics_that_cannot_be_used_are_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    lm = tiny_gpt2()
    npz(tmp_path, lm, 0, **changes)
    with pytest.raises(ValueError, match=said):
        covariances(lm, open_corpus(str(tmp_path)), [0])
    with pytest.raises(FileNotFoundError, match=r"No statistics of transformer\.h\.1\.mlp\.c_proj"):
        covariances(lm, open_corpus(str(tmp_path)), [1])


def test_a_directory_is_read_in_the_order_of_its_paths(directory: Path) -> None:
    corpus = open_corpus(str(directory))
    assert list(corpus.texts()) == ["First.", "Second\nline.", "Third.", "Fourth."]
    assert list(corpus.texts()) == list(corpus.texts())
    part = str(directory / "b")  # a limit counts no empty documents
    assert list(open_corpus(part, documents=2).texts()) == ["Third.", "Fourth."]
    assert list(open_corpus(part, documents=1).texts()) == ["Third."]
    (directory / "none").mkdir()
    for place in ("none", "nowhere"):
        with pytest.raises(FileNotFoundError, match=r"\.txt or \.jsonl"):
            open_corpus(str(directory / place))


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


@pytest.mark.parametrize(
    "line", ["no json", "[1]", '{"words": 1}', '{"text": 3}', '{"text": ["a"]}']
)
def test_a_line_without_a_text_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(f'{{"text": "Good."}}\n{line}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"texts\.jsonl, line 2"):
        list(open_corpus(str(path)).texts())


def test_a_null_and_an_empty_line_are_no_texts(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": null}\n\n{"text": "Good."}\n', encoding="utf-8")
    assert list(open_corpus(str(path)).texts()) == ["Good."]


def test_text_of_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("Good.\nBetter.\n".encode("utf-16-le"))
    with pytest.raises(ValueError, match=r"texts\.txt is not UTF-8 text: line 1 holds zeros"):
        list(open_corpus(str(path)).texts())


def test_wikipedia_is_streamed_at_a_pinned_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Mock()  # of the hub, without a network
    rows = [{"text": text} for text in ("An article.", " ", "Another.")]
    client.return_value.shuffle.side_effect = lambda **_: iter(rows)
    monkeypatch.setattr("datasets.load_dataset", client)
    corpus = open_corpus("wikipedia", documents=2)
    assert corpus.remote
    assert list(corpus.texts()) == ["An article.", "Another."]
    assert client.call_args.kwargs["streaming"] is True
    assert client.call_args.kwargs["revision"] in corpus.digest
    assert client.return_value.shuffle.call_args.kwargs["seed"] == 0


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ConnectionError("no route to the host\nand more")
    monkeypatch.setattr("datasets.load_dataset", Mock(side_effect=error))
    with pytest.raises(OSError, match=r"wikimedia/wikipedia .*--corpus\.$"):
        next(open_corpus("wikipedia").texts())


LINES = ["The first document.", "", "The second one is longer than that.", "A third."] * 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "statistics"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(LINES), encoding="utf-8")
    return path


@pytest.fixture
def corpus(path: Path) -> Corpus:
    return open_corpus(str(path))


def test_statistics_are_computed_once_and_nothing_partial_stays(
    corpus: Corpus, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_llama()
    first = covariances(lm, corpus, (0,)), context_templates(lm, (4,))
    (path,) = cache.glob("*.json")
    assert tuple(json.loads(path.read_text("utf-8"))) == first[1] == read_templates(path)
    files = sorted(path.name for path in cache.iterdir())
    assert [name.split("-")[0] for name in files] == ["covariance", "templates", "templates"]
    monkeypatch.setattr(Corpus, "texts", lambda _: pytest.fail("read again"))
    monkeypatch.setattr("editors.parts.target_value.generate_templates", pytest.fail)
    again = covariances(lm, corpus, (0,)), context_templates(lm, (4,))
    assert torch.equal(again[0][0], first[0][0])
    assert again[1] == first[1]
    assert sorted(path.name for path in cache.iterdir()) == files


def test_other_weights_corpora_extents_and_lengths_are_other_files(
    path: Path, corpus: Corpus, cache: Path
) -> None:
    lm = tiny_llama()
    covariances(lm, corpus, (0,))
    context_templates(lm, (4,))
    context_templates(lm, (5,))
    covariances(tiny_gpt2(), corpus, (0,))
    covariances(lm, open_corpus(str(path), documents=3), (0,))
    path.write_text("Another corpus altogether.\n" * 9, encoding="utf-8")
    covariances(lm, open_corpus(str(path)), (0,))
    assert len([path for path in cache.iterdir() if path.suffix != ".sha256"]) == 6


def test_the_counts_are_recorded(path: Path) -> None:
    corpus = open_corpus(str(path), documents=5)
    (file,) = compute_covariances(tiny_llama(), corpus, (1,)).values()
    facts = read_facts(file)
    assert facts["documents"] == "5"
    assert facts["corpus"] == corpus.identity
    assert facts["backbone"] == "tiny-llama"
    running = KeyMoments(tiny_llama(), (1,), max_length=160)
    for _ in running.read(corpus.texts()):
        pass
    assert facts["tokens"] == str(running.tokens)


def test_an_interrupted_computation_continues_to_the_same_bits(
    corpus: Corpus, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("editors.parts.covariance.CHUNK", 2)
    lm = tiny_llama()
    (whole,) = compute_covariances(lm, corpus, (1,)).values()
    expected, facts = load_file(whole)["matrix"], read_facts(whole)
    whole.unlink()

    def stop(running: KeyMoments) -> None:
        if running.documents >= 8:
            raise InterruptedError

    monkeypatch.setattr(key_statistics, "SAVE_SECONDS", -1.0)
    with pytest.raises(InterruptedError):
        compute_covariances(lm, corpus, (1,), stop)
    assert not whole.exists()
    (checkpoint,) = cache.iterdir()
    seen = []
    compute_covariances(lm, corpus, (1,), lambda running: seen.append(running.documents))
    assert seen[0] == 8  # the chunk after the checkpoint at 6
    assert torch.equal(load_file(whole)["matrix"], expected)
    assert read_facts(whole) == facts
    assert not checkpoint.exists()


def test_the_hubs_corpus_is_never_streamed_in_the_middle_of_a_run() -> None:
    corpus = open_corpus("wikipedia", documents=100_000)
    with pytest.raises(FileNotFoundError, match=r"layers 0, 2 .*bench stats"):
        covariances(tiny_llama(), corpus, (0, 2))


def test_an_empty_corpus_is_an_error_and_leaves_no_file(path: Path, cache: Path) -> None:
    path.write_text("\n\n", encoding="utf-8")
    with pytest.raises(ValueError, match="needs a corpus"):
        covariances(tiny_llama(), open_corpus(str(path)), (0,))
    assert not cache.exists() or not list(cache.iterdir())


def test_fewer_tokens_than_dimensions_are_refused_when_computed_and_when_read(
    path: Path, cache: Path
) -> None:
    path.write_text("Short.", encoding="utf-8")
    wanted = r"layer 1 is of \d+ tokens, fewer than its 24 dimensions; compute it over more text\."
    with pytest.raises(ValueError, match=wanted):
        covariances(tiny_llama(), open_corpus(str(path)), (1,))
    assert not cache.exists() or not list(cache.iterdir())
    path.write_text("\n".join(LINES), encoding="utf-8")
    corpus = open_corpus(str(path))
    (file,) = compute_covariances(tiny_llama(), corpus, (1,)).values()
    facts = {name: value for name, value in read_facts(file).items() if name != "digest"}
    save_file(load_file(file), file, facts | {"tokens": "23"})  # of an earlier version
    with pytest.raises(ValueError, match=wanted):
        covariances(tiny_llama(), corpus, (1,))


def test_no_more_is_read_than_is_wanted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_: Corpus) -> Iterator[str]:
        while True:
            yield "The same text again."

    monkeypatch.setattr(Corpus, "texts", endless)
    corpus = open_corpus(str(path), tokens=100)
    (file,) = compute_covariances(tiny_llama(), corpus, (0,)).values()
    assert 100 <= int(read_facts(file)["tokens"]) < 100 + 3 * 160


def flip(path: Path) -> None:
    """Change one bit of the last number; the file can be read as before."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_damaged_statistics_are_reported_set_aside_and_recomputed(
    corpus: Corpus, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = tiny_llama()
    first = covariances(lm, corpus, (0,))[0], context_templates(lm, (4,))
    for path in (*cache.glob("*.safetensors"), *cache.glob("*.json")):
        flip(path)
    again = covariances(lm, corpus, (0,))[0], context_templates(lm, (4,))
    assert torch.equal(again[0], first[0])
    assert again[1] == first[1]
    assert capsys.readouterr().err.count(" is damaged: ") == 2
    assert len(list(cache.glob("*.corrupt"))) == 2


def test_a_covariance_without_a_digest_is_read_as_it_is(
    corpus: Corpus, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = tiny_llama()
    first = covariances(lm, corpus, (0,))[0]
    (path,) = cache.iterdir()
    facts = read_facts(path)
    del facts["digest"]
    save_file({"matrix": first + 1}, path, facts)
    assert torch.equal(covariances(lm, corpus, (0,))[0], first + 1)
    assert capsys.readouterr().err == ""

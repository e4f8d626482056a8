from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench import resources
from bench.resources import Sources, context_templates, covariances, resources_for, sources_for
from editors import registry
from editors.parts.covariance import second_moments
from editors.recipe import Recipe
from editors.rome import RomeHparams
from tests.tiny import CONTEXT, tiny_gpt2, tiny_llama

LINES = ["The first document.", "", "The second one is longer than that.", "A third."] * 4
ROME = RomeHparams(layer=1, context_lengths=(4, 5))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "statistics"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "corpus.txt"
    path.parent.mkdir()
    path.write_text("\n".join(LINES), encoding="utf-8")
    return path


def test_rome_gets_the_covariance_of_its_layer_and_its_templates(corpus: Path) -> None:
    lm = tiny_llama()
    made = resources_for(lm, ROME, Sources(corpus=corpus), seed=5)
    texts = [line for line in LINES if line]
    (moment,) = second_moments(tiny_llama(), texts, (1,), max_length=CONTEXT).values()
    assert made.covariance is not None
    assert torch.equal(made.covariance(1), moment.matrix.float())
    assert len(made.templates) == 3
    assert made.seed == 5


def test_an_editor_that_needs_nothing_gets_nothing(cache: Path) -> None:
    hparams = registry.hparams_for("ft", "mini-llama")
    sources = sources_for("ft", "mini-llama", hparams, dataset="zsre")
    assert sources == Sources()
    made = resources_for(tiny_llama(), hparams, sources)
    assert (made.covariance, made.templates) == (None, ("{}",))
    assert not cache.exists()


def test_what_was_made_is_read_again_and_nothing_partial_stays(
    corpus: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = tiny_llama()
    first = covariances(lm, corpus, (0,)), context_templates(lm, (4,))
    files = sorted(path.name for path in cache.iterdir())
    assert [name.split("-")[0] for name in files] == ["covariance", "templates"]
    monkeypatch.setattr(resources, "_documents", lambda _: pytest.fail("read again"))
    monkeypatch.setattr("editors.parts.templates.generate_templates", pytest.fail)
    again = covariances(lm, corpus, (0,)), context_templates(lm, (4,))
    assert torch.equal(again[0][0], first[0][0])
    assert again[1] == first[1]
    assert sorted(path.name for path in cache.iterdir()) == files


def test_other_weights_corpora_and_lengths_are_other_files(corpus: Path, cache: Path) -> None:
    lm = tiny_llama()
    covariances(lm, corpus, (0,))
    context_templates(lm, (4,))
    context_templates(lm, (5,))
    covariances(tiny_gpt2(), corpus, (0,))
    corpus.write_text("Another corpus altogether.", encoding="utf-8")
    covariances(lm, corpus, (0,))
    assert len(list(cache.iterdir())) == 5


def test_templates_are_stored_as_readable_json(cache: Path) -> None:
    templates = context_templates(tiny_llama(), (4, 4))
    (path,) = cache.iterdir()
    assert tuple(json.loads(path.read_text("utf-8"))) == templates


def test_a_corpus_beside_the_data_comes_first(corpus: Path) -> None:
    sources = sources_for("rome", "gpt-j-6b", ROME, dataset="cf", directory=corpus.parent)
    assert (sources.corpus, sources.corpus_tokens) == (corpus, None)
    assert set(sources.digests()) == {"corpus"}
    before = sources.digests()
    corpus.write_text("Another corpus altogether.", encoding="utf-8")
    assert sources.digests() != before


def test_any_other_model_reads_some_of_the_made_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "data_dir", lambda seed: tmp_path / str(seed))
    sources = sources_for("rome", "my-model", ROME, dataset="cf", directory=tmp_path, world_seed=3)
    assert sources.corpus == tmp_path / "3" / "corpus.txt"
    assert sources.corpus_tokens == resources.EMBEDDED_TOKENS


def test_a_named_large_model_never_gets_the_made_corpus(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gpt2-xl needs a text corpus.*corpus\.txt"):
        sources_for("rome", "gpt2-xl", ROME, dataset="cf", directory=tmp_path)


def test_an_editor_that_reads_text_gets_the_corpus(corpus: Path) -> None:
    hparams = registry.hparams_for("t_patcher", "gpt2-xl")
    sources = sources_for("t_patcher", "gpt2-xl", hparams, dataset="cf", directory=corpus.parent)
    assert sources.corpus == corpus
    assert set(sources.digests()) == {"corpus"}
    made = resources_for(tiny_llama(), hparams, sources)
    assert made.corpus == corpus
    assert made.covariance is None


def test_trained_weights_are_found_by_data_set_then_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "require_assets", lambda _, name: tmp_path / name)
    hparams = Recipe.presets["default"]

    def found() -> Path | None:
        return sources_for("RECIPE", "some-model", hparams, dataset="zsre").artefact

    with pytest.raises(FileNotFoundError, match=r"RECIPE has no trained weights.*--editor recipe"):
        found()
    directory = tmp_path / "artefacts"
    directory.mkdir()
    for name in ("recipe-some-model.safetensors", "recipe-some-model-zsre.safetensors"):
        (directory / name).write_bytes(b"weights")
        artefact = found()
        assert artefact is not None
        assert artefact.name == name


def test_an_empty_corpus_is_an_error_and_leaves_no_file(corpus: Path, cache: Path) -> None:
    corpus.write_text("\n\n", encoding="utf-8")
    with pytest.raises(ValueError, match="needs a corpus"):
        covariances(tiny_llama(), corpus, (0,))
    assert not cache.exists()

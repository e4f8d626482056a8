"""The control backbone: where it lies, what it was taught, and a table without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.grids import Selection, get_table
from bench.core.names import CONTROL, MODELS
from bench.models.backbones import locate
from bench.runner.planning import Settings, points, trained_points
from bench.world.corpus import KINDS, Corpus
from bench.world.store import NotBuiltError, assets_dir, cache_root
from bench.world.world import World
from editors import registry


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path))


@pytest.mark.usefixtures("empty_cache")
def test_it_is_not_shipped() -> None:
    assert CONTROL not in MODELS
    assert assets_dir(0, CONTROL).is_relative_to(cache_root())
    with pytest.raises(NotBuiltError, match=f"world build --seed 0 --models {CONTROL}"):
        locate(CONTROL)


@pytest.mark.usefixtures("empty_cache")
def test_table_4_leaves_it_out_where_it_was_not_built() -> None:
    chosen = points(get_table(4), Selection(datasets=("cf",), edits=(100,)))
    kept, reasons = trained_points(chosen, Settings(), named=False)
    assert {point.backbone for point in kept} == {"mini-llama"}
    assert any("world build" in reason for reason in reasons)


@pytest.mark.usefixtures("empty_cache")
def test_but_it_is_an_error_where_it_was_asked_for() -> None:
    chosen = points(get_table(4), Selection(backbone=CONTROL, datasets=("cf",), edits=(100,)))
    with pytest.raises(NotBuiltError):
        trained_points(chosen, Settings(), named=False)


def test_it_reads_no_document_with_an_answer_in_its_context() -> None:
    corpus = Corpus(World(0), context_reading=False)
    assert set(corpus.shares) == {"fact", "opening", "linked"}
    assert set(Corpus(World(0)).shares) == set(KINDS)


def test_it_has_the_presets_of_the_backbone_it_is_compared_with() -> None:
    for editor in registry.available():
        assert registry.hparams_for(editor, CONTROL) == registry.hparams_for(editor, "mini-llama")

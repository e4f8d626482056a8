"""A backbone repeats what it misses, until recall is enough."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from bench.models.backbones import load, locate
from bench.world.training import pretrain
from bench.world.training import recall as measuring
from bench.world.training.pretrain import CausalRows, Training
from bench.world.training.recall import recall
from bench.world.world import World
from editors.parts.language_model import LanguageModel


@pytest.fixture(scope="module")
def world() -> World:
    return World(0)


@pytest.fixture
def shipped() -> LanguageModel:
    return load(locate("mini-llama", world_seed=0))


def revised(lm: LanguageModel, world: World, folder: Path) -> tuple[int, float]:
    tokenizer = lm.tokenizer
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    return measuring.revise(
        lm.model.requires_grad_(True), tokenizer, world,
        lambda corpus, training: CausalRows(corpus, tokenizer, training),
        folder / "mini-llama.safetensors", device=torch.device("cpu"),
    )  # fmt: skip


def test_part_of_the_documents_are_missed_phrasings(world: World) -> None:
    missed = [("The city of Guson College is", "Laiford")] * 100
    corpus = measuring.RevisionCorpus(world, missed)
    documents = list(corpus.documents(world.rng("test"), 2000, 1.0))
    repeated = [d for d in documents if [s.text for s in d[1:3]] == [missed[0][0], " Laiford"]]
    assert corpus.share == pytest.approx(1000 * 25 / (150 * 32 * 128))
    assert len(repeated) / 2000 == pytest.approx(corpus.share, abs=0.01)
    assert measuring.RevisionCorpus(world, missed * 100).share == measuring.MOST


def test_nothing_is_done_when_recall_is_enough(world: World, shipped: LanguageModel) -> None:
    assert measuring.missing(shipped.model, shipped.tokenizer, world) == (0, [])


@pytest.mark.slow
def test_a_damaged_relation_is_recalled_again(
    world: World, shipped: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = shipped.model, shipped.tokenizer
    part = [fact for facts in world.by_relation.values() for fact in facts[:12]]
    monkeypatch.setattr(world, "core", part)
    with torch.no_grad():  # facts live in the MLPs
        model.get_parameter("model.layers.1.mlp.down_proj.weight")[:, :192] = 0
    before = {score.name: score.value for score in recall(LanguageModel(model, tokenizer), world)}
    short = Training(steps=12, rows=16, width=64, lr=3e-4, warmup=2, begin=1.0)
    monkeypatch.setattr(measuring, "REVISION_TRAINING", short)
    monkeypatch.setattr(measuring, "ROUNDS", 1)
    rounds, seconds = revised(shipped, world, tmp_path)
    after = {score.name: score.value for score in recall(LanguageModel(model, tokenizer), world)}
    assert rounds == 1
    assert seconds > 0
    assert after["recall/all"] > before["recall/all"]


def test_a_round_after_which_recall_is_worse_is_undone(
    world: World, shipped: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shipped.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    missing = iter([(2, [("a", "b")] * 3), (2, [("a", "b")] * 2), (2, [("a", "b")] * 4)])

    def change(module: torch.nn.Module, *args: object, **options: object) -> float:
        with torch.no_grad():
            module.get_parameter("model.norm.weight").add_(1.0)
        return 1.0

    monkeypatch.setattr(measuring, "missing", lambda *_: next(missing))
    monkeypatch.setattr(pretrain, "train", change)
    monkeypatch.setattr(measuring, "ROUNDS", 2)
    rounds, seconds = revised(shipped, world, tmp_path)
    assert (rounds, seconds) == (1, 2.0)
    after = model.state_dict()
    assert torch.equal(after["model.norm.weight"], before["model.norm.weight"] + 1.0)

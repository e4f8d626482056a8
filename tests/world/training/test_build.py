"""The miniature backbones: their size, their loss, and that they come back as they were saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from bench.cli.main import main
from bench.core.files import digest_of_file
from bench.core.names import ENCODER
from bench.models.backbones import EMBEDDED, at_directory, load
from bench.world.corpus import Corpus, tokenizer_texts
from bench.world.store import assets_dir
from bench.world.training import build, pretrain
from bench.world.training.pretrain import causal_loss
from bench.world.training.recall import Score
from bench.world.world import DEFAULT_SEED, World

IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 5, 6, 13, 14]])
WEIGHTS = torch.tensor([[1.0, 0.5, 0.0, 1.0, 2.0, 1.0], [1.0, 0.0, 0.0, 1.0, 1.0, 0.5]])


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return list(tokenizer_texts(World(3), 300))


def built(name: str, texts: list[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    make_tokenizer, make_model = build.BACKBONES[name]
    tokens = make_tokenizer(texts)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return make_model(tokens).eval(), tokens


@pytest.mark.parametrize("name", EMBEDDED)
def test_saved_in_half_it_comes_back_rounded(name: str, texts: list[str], tmp_path: Path) -> None:
    model, tokens = built(name, texts)
    assert 1e6 < sum(p.numel() for p in model.parameters()) < 3e6
    assert model.config.max_position_embeddings >= 512
    build.save_tokenizer(tokens, tmp_path)
    rounded = {key: value.half().float() for key, value in model.state_dict().items()}
    build._save_half(model, tmp_path)
    lm = load(at_directory(tmp_path, name=name))
    assert lm.dtype == torch.float32
    assert (tmp_path / "model.safetensors").stat().st_size < 4e6
    assert all(torch.equal(value, rounded[key]) for key, value in lm.model.state_dict().items())
    assert lm.tokenizer("Ann was born in")["input_ids"] == tokens("Ann was born in")["input_ids"]


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("start", [None, 30])
def test_loss_is_the_weighted_mean_of_next_token_losses(
    name: str, start: int | None, texts: list[str]
) -> None:
    model, _ = built(name, texts)
    starts = () if start is None else (torch.tensor([[start], [0]]),)
    places = torch.arange(6) + (starts[0] if starts else torch.zeros(2, 1, dtype=torch.long))
    logits = model(input_ids=IDS, position_ids=places).logits
    each = F.cross_entropy(logits[:, :-1].flatten(0, 1), IDS[:, 1:].flatten(), reduction="none")
    weights = WEIGHTS[:, 1:].flatten()
    wanted = (each * weights).sum() / weights.sum()
    torch.testing.assert_close(causal_loss(model, (IDS, WEIGHTS, *starts)), wanted)


def test_a_start_moves_learned_positions(texts: list[str]) -> None:
    model, _ = built("mini-gpt2", texts)
    at_zero = causal_loss(model, (IDS, WEIGHTS))
    moved = causal_loss(model, (IDS, WEIGHTS, torch.full((2, 1), build.CONTEXT - 6)))
    assert not torch.allclose(at_zero, moved, rtol=1e-6)


def test_only_backbones_of_other_seeds_have_a_parent() -> None:
    assert tuple(build.BACKBONES) == EMBEDDED
    assert build.parent_of(DEFAULT_SEED, "mini-llama") is None
    assert build.parent_of(DEFAULT_SEED + 1, "mini-roberta") is None
    assert build.parent_of(DEFAULT_SEED + 1, "mini-llama") is not None


def test_the_command_builds_verifies_and_records_models(
    texts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few steps of each, from the corpus to files that load and a manifest that names them."""
    few = {"steps": 2, "polish": 0, "rows": 2, "width": 32, "warmup": 1, "checkpoint": 1}
    for name in ("BACKBONE_TRAINING", "ENCODER_TRAINING", "PARAPHRASE_TRAINING"):
        monkeypatch.setattr(pretrain, name, replace(vars(pretrain)[name], **few))
    monkeypatch.setattr(build, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.setattr(build, "tokenizer_texts", lambda _: texts)
    monkeypatch.setattr(build, "revise", lambda *_, **__: (0, 0.0))
    scores = [Score("recall/all", 0.25, None)]
    monkeypatch.setattr("bench.checks.world.verify", lambda *_: scores)
    out = tmp_path / "assets"
    names = ("mini-llama", ENCODER)
    assert main(["world", "build", "--models", ",".join(names), "--out", str(out)]) == 0
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert manifest["seed"] == DEFAULT_SEED
    assert set(manifest["models"]) == set(names)
    for name in names:
        own = manifest["models"][name]
        assert own["training"]["steps"] == 2
        for file, digest in own["files"].items():
            assert digest_of_file(out / name / file) == digest
    assert manifest["models"]["mini-llama"]["scores"] == {"recall/all": 0.25}
    assert load(at_directory(out / "mini-llama", name="mini-llama")).n_layers == 4


def test_the_guide_says_which_shipped_models_the_command_does_not_train_again() -> None:
    """Their shares of the corpus, in the manifest, are other ones than the command's."""
    manifest = json.loads((assets_dir(DEFAULT_SEED) / "manifest.json").read_text("utf-8"))
    shares = {name: own["corpus_shares"] for name, own in manifest["models"].items()}
    now = json.loads(json.dumps(Corpus(World(DEFAULT_SEED), context_reading=True).shares))
    other = {name for name, own in shares.items() if own != now}
    assert other == {"mini-llama", "mini-roberta"}
    guide = (Path(__file__).parents[3] / "docs" / "guide.md").read_text("utf-8")
    assert (
        "It does not train the same bytes as the shipped `mini-llama` and `mini-roberta`" in guide
    )

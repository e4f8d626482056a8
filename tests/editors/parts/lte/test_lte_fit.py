"""Training LTE's follower: it learns, it can be killed, and it says what it did."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import pytest
import torch

from bench.checks.contract.tiny import tiny_llama, write_encoder
from editors.parts.artefact import checkpoint_path, read_artefact
from editors.parts.language_model import LanguageModel
from editors.parts.lte.fit import fit_lte, load_follower
from editors.parts.lte.follower import FollowerWeights, copy_to_train
from editors.parts.lte.hparams import PRESETS, TINY, LteHparams
from editors.parts.lte.learner import rate_factor
from editors.parts.tokens import batch_of
from tests.support.tiny_recipe import samples

MADE = {"made": samples()}
COSINE = dataclasses.replace(TINY, learning_rate_decay="cosine")


class KilledError(Exception):
    """Ends a training in the middle."""


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_llama()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("fit") / "encoder")


def fit(
    lm: LanguageModel, encoder: Path, out: Path, hparams: LteHparams = TINY, seed: int = 0
) -> Path:
    return fit_lte(lm, MADE, hparams, encoder=encoder, seed=seed, out=out)


def test_the_losses_go_down(lm: LanguageModel, encoder: Path, tmp_path: Path) -> None:
    hparams = dataclasses.replace(TINY, iterations=30, checkpoint_interval=30)
    steps: list[Mapping[str, float]] = []
    fit_lte(lm, MADE, hparams, encoder=encoder, seed=0, out=tmp_path, progress=steps.append)
    assert [step["iteration"] for step in steps] == list(range(1, 31))
    for term in ("loss", "reliability", "generality"):
        assert fmean(s[term] for s in steps[-5:]) < 0.8 * fmean(s[term] for s in steps[:5]), term


def test_a_killed_training_ends_in_the_same_file(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    whole = fit(lm, encoder, tmp_path / "whole", COSINE)

    def kill(numbers: Mapping[str, float]) -> None:
        if numbers["iteration"] == 5:  # one step behind the checkpoint at 4
            raise KilledError

    out = tmp_path / "killed"
    with pytest.raises(KilledError):
        fit_lte(lm, MADE, COSINE, encoder=encoder, seed=0, out=out, progress=kill)
    (left,) = out.iterdir()
    assert left == checkpoint_path(out / "lte-tiny-llama-made.safetensors")
    steps: list[Mapping[str, float]] = []
    path = fit_lte(lm, MADE, COSINE, encoder=encoder, seed=0, out=out, progress=steps.append)
    assert steps[0]["iteration"] == 5
    assert list(out.iterdir()) == [path]
    assert path.read_bytes() == whole.read_bytes()


def test_training_leaves_the_model_and_the_global_generator_alone(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    weights = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    before = torch.get_rng_state()
    first = fit(lm, encoder, tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(lm.model.state_dict()[name], t) for name, t in weights.items())
    assert not any(parameter.requires_grad for parameter in lm.model.parameters())
    torch.rand(7)  # the global generator stands elsewhere now
    assert fit(lm, encoder, tmp_path / "second").read_bytes() == first.read_bytes()
    assert fit(lm, encoder, tmp_path / "third", seed=1).read_bytes() != first.read_bytes()


def test_the_header_says_where_the_weights_come_from(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    path = fit(lm, encoder, tmp_path)
    tensors, header = read_artefact(path)
    assert LteHparams.from_dict(header["hparams"]) == TINY
    assert header["prefix"] == "[Updated Information]{fact}\n[Query]"
    assert header["data"]["made"]["samples"] == 40
    assert [entry["iteration"] for entry in header["history"]] == [2, 4, 6, 8]
    best = min(header["history"], key=lambda entry: entry["held_out_loss"])
    assert header["selected_iteration"] == best["iteration"]
    assert header["selected_loss"] == best["held_out_loss"]
    scores = header["validation"]["made"]
    assert scores["edits"] == 4
    assert set(scores) >= {"reliability", "generality", "locality", "hit_reliability"}
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    follower = load_follower(path, lm, encoder, TINY)
    assert {delta.name for delta in follower.deltas} == dict(lm.model.named_parameters()).keys()
    assert -1 < follower.threshold < 1


def test_increments_start_at_the_model_and_take_its_gradients(tiny_lm: LanguageModel) -> None:
    weights = FollowerWeights(tiny_lm.model, 0.5)
    follower = copy_to_train(tiny_lm)
    weights.put_into(follower.model, tiny_lm.model)
    own = dict(tiny_lm.model.named_parameters())
    for name, parameter in follower.model.named_parameters():
        assert torch.equal(parameter, own[name])
    row = batch_of(tiny_lm.tokenizer, [("The sky is", "blue")], device=tiny_lm.device)
    follower.target_logits(row).logsumexp(-1).sum().backward()
    wanted = {name: p.grad for name, p in follower.model.named_parameters()}
    weights.take_gradients(follower.model)
    for name, gradient in wanted.items():
        assert weights.get_parameter(name.replace(".", "/")).grad is gradient
    with torch.no_grad():
        for increment in weights.parameters():
            increment.fill_(0.25)
    weights.put_into(follower.model, tiny_lm.model)
    for name, parameter in follower.model.named_parameters():
        assert torch.equal(parameter, own[name] + 0.25)


def test_another_runs_files_are_never_overwritten(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    path = fit(lm, encoder, tmp_path)
    written = path.stat().st_mtime_ns
    assert fit(lm, encoder, tmp_path) == path
    assert path.stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="belongs to another training run: seed is 0 there and 1"):
        fit(lm, encoder, tmp_path, seed=1)


def test_no_data_and_too_little_data_are_refused(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="at least one data set"):
        fit_lte(lm, {}, TINY, encoder=encoder, seed=0, out=tmp_path)
    few = {"made": samples(3)}
    with pytest.raises(ValueError, match=r"at least 10 samples .* got 3"):
        fit_lte(lm, few, TINY, encoder=encoder, seed=0, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_rates_stay_or_fall_along_a_cosine() -> None:
    assert [rate_factor(i, TINY) for i in (0, 4, 7)] == [1, 1, 1]
    assert [rate_factor(i, COSINE) for i in (0, 4)] == pytest.approx([1, 1 / 2])  # of 8


def test_only_the_preset_of_live_edit_takes_the_threshold_of_its_encoder() -> None:
    for name in ("llama-2-7b", "gpt-j-6b", "gpt2-xl", "mini-llama"):
        assert PRESETS[name].threshold is None
    assert PRESETS["liveedit"].threshold == 0.3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mode": "authors"}, "Did you mean 'author'"),
        ({"learning_rate": 0}, "learning_rate must be a number above 0, got 0"),
        ({"threshold": -2}, "threshold must be a number of at least -1, got -2"),
        ({"held_out": 0}, "held_out must be a number of at least 1, got 0"),
        ({"weight_locality": -1}, "weight_locality must be a number of at least 0, got -1"),
    ],
)
def test_bad_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LteHparams.from_dict(values)

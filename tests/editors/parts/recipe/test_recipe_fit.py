"""Training RECIPE: it learns, it can be killed, and it says what it did."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Literal

import pytest
import torch

from bench.checks.contract.tiny import tiny_llama, write_encoder
from editors.parts.artefact import checkpoint_path, read_artefact
from editors.parts.language_model import LanguageModel
from editors.parts.recipe.fit import fit_recipe
from editors.parts.recipe.hparams import TINY, RecipeHparams
from editors.parts.recipe.learner import ramp_at, rate_factor
from tests.support.tiny_recipe import samples

QUICK = dataclasses.replace(TINY, iterations=8, checkpoint_interval=2, ramp_start=2, ramp_end=4)
MADE = {"made": samples()}


class KilledError(Exception):
    """Ends a training in the middle."""


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_llama()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("fit") / "encoder")


def fit(
    lm: LanguageModel, encoder: Path, out: Path, hparams: RecipeHparams = QUICK, seed: int = 0
) -> Path:
    return fit_recipe(lm, MADE, hparams, encoder=encoder, seed=seed, out=out)


def test_the_losses_go_down(lm: LanguageModel, encoder: Path, tmp_path: Path) -> None:
    hparams = dataclasses.replace(
        TINY, iterations=60, schedule="joint", learning_rate=5e-3, dropout=False
    )
    steps: list[Mapping[str, float]] = []
    fit_recipe(lm, MADE, hparams, encoder=encoder, seed=0, out=tmp_path, progress=steps.append)
    assert [step["iteration"] for step in steps] == list(range(1, 61))
    for term in ("loss", "reliability", "generality", "neighbour"):
        assert fmean(s[term] for s in steps[-10:]) < 0.95 * fmean(s[term] for s in steps[:10]), term


@pytest.mark.parametrize("decay", ["none", "cosine"])
def test_a_killed_training_ends_in_the_same_weights(
    decay: Literal["none", "cosine"], lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    hparams = dataclasses.replace(QUICK, learning_rate_decay=decay)
    whole, header = read_artefact(fit(lm, encoder, tmp_path / "whole", hparams))

    def kill(numbers: Mapping[str, float]) -> None:
        if numbers["iteration"] == 5:  # one step behind the checkpoint at 4
            raise KilledError

    out = tmp_path / "killed"
    with pytest.raises(KilledError):
        fit_recipe(lm, MADE, hparams, encoder=encoder, seed=0, out=out, progress=kill)
    (left,) = out.iterdir()
    assert left == checkpoint_path(out / "recipe-tiny-llama-made.safetensors")
    steps: list[Mapping[str, float]] = []
    path = fit_recipe(lm, MADE, hparams, encoder=encoder, seed=0, out=out, progress=steps.append)
    assert steps[0]["iteration"] == 5
    assert list(out.iterdir()) == [path]
    resumed, resumed_header = read_artefact(path)
    assert resumed_header == header
    assert resumed.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_training_leaves_the_model_and_the_global_generator_alone(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    weights = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    before = torch.get_rng_state()
    first = fit(lm, encoder, tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(lm.model.state_dict()[name], t) for name, t in weights.items())
    assert all(parameter.grad is None for parameter in lm.model.parameters())
    torch.rand(7)  # the global generator stands elsewhere now
    assert fit(lm, encoder, tmp_path / "second").read_bytes() == first.read_bytes()
    other = fit(lm, encoder, tmp_path / "third", seed=1)
    assert other.read_bytes() != first.read_bytes()


def test_the_header_says_where_the_weights_come_from(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    path = fit(lm, encoder, tmp_path)
    assert path.name == "recipe-tiny-llama-made.safetensors"
    tensors, header = read_artefact(path)
    assert RecipeHparams.from_dict(header["hparams"]) == QUICK
    assert header["data"]["made"]["samples"] == 40
    assert header["backbone"] == "tiny-llama"
    assert len(header["encoder_digest"]) == 64
    assert [entry["iteration"] for entry in header["history"]] == [2, 4, 6, 8]
    candidates = [e for e in header["history"] if e["iteration"] >= QUICK.ramp_end]
    best = min(candidates, key=lambda entry: entry["held_out_loss"])
    assert header["selected_iteration"] == best["iteration"]
    assert header["selected_loss"] == best["held_out_loss"]
    scores = header["validation"]["made"]
    assert scores["edits"] == 4
    assert set(scores) >= {"reliability", "generality", "locality", "prompt_reliability"}
    assert tensors["encoder.roberta.pooler.dense.weight"].dtype == torch.float32


def test_the_running_loss_can_select(lm: LanguageModel, encoder: Path, tmp_path: Path) -> None:
    hparams = dataclasses.replace(QUICK, selection="ema")
    _, header = read_artefact(fit(lm, encoder, tmp_path, hparams))
    candidates = [e for e in header["history"] if e["iteration"] >= hparams.ramp_end]
    assert header["selected_loss"] == min(entry["running_loss"] for entry in candidates)


def test_half_precision_is_rounded_once(lm: LanguageModel, encoder: Path, tmp_path: Path) -> None:
    hparams = dataclasses.replace(QUICK, artefact_dtype="float16")
    single, _ = read_artefact(fit(lm, encoder, tmp_path / "single"))
    half, _ = read_artefact(fit(lm, encoder, tmp_path / "half", hparams))
    assert all(torch.equal(tensor, single[name].half()) for name, tensor in half.items())


def test_several_data_sets_make_one_artefact(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    both = {"zsre": samples(30), "counterfact": samples(40)}
    path = fit_recipe(lm, both, QUICK, encoder=encoder, seed=0, out=tmp_path)
    assert path.name == "recipe-tiny-llama.safetensors"
    assert read_artefact(path)[1]["validation"].keys() == both.keys()


def test_a_finished_training_is_left_as_it_is(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    path = fit(lm, encoder, tmp_path)
    written = path.stat().st_mtime_ns
    assert fit(lm, encoder, tmp_path) == path
    assert path.stat().st_mtime_ns == written


def test_weights_that_differ_in_use_alone_are_the_same(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    path = fit(lm, encoder, tmp_path)
    words = dataclasses.replace(QUICK, prompts="words", calibration=7)  # of a threshold it lacks
    assert fit(lm, encoder, tmp_path, words) == path
    with pytest.raises(ValueError, match="another training run: hparams is"):
        fit(lm, encoder, tmp_path, dataclasses.replace(QUICK, gate="threshold"))


def test_another_runs_files_are_never_overwritten(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    fit(lm, encoder, tmp_path)
    with pytest.raises(ValueError, match="belongs to another training run: seed is 0 there and 1"):
        fit(lm, encoder, tmp_path, seed=1)
    other = dataclasses.replace(QUICK, learning_rate=0.5)
    with pytest.raises(ValueError, match="another training run: hparams is"):
        fit(lm, encoder, tmp_path, other)


def test_no_data_and_too_little_data_are_refused(
    lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="at least one data set"):
        fit_recipe(lm, {}, QUICK, encoder=encoder, seed=0, out=tmp_path)
    with pytest.raises(ValueError, match="got 3"):
        fit_recipe(lm, {"made": samples(3)}, QUICK, encoder=encoder, seed=0, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_ramp_is_off_then_rises_then_stays() -> None:
    ramps = [ramp_at(iteration, QUICK) for iteration in range(6)]
    assert ramps == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1])
    joint = dataclasses.replace(QUICK, schedule="joint")
    assert ramp_at(0, joint) == 1


def test_rates_stay_or_fall_along_a_cosine() -> None:
    cosine = dataclasses.replace(QUICK, learning_rate_decay="cosine")
    assert [rate_factor(i, QUICK) for i in (0, 4, 7)] == [1, 1, 1]
    assert rate_factor(0, cosine) == 1
    assert rate_factor(4, cosine) == pytest.approx(1 / 2)  # of 8
    assert rate_factor(2, cosine) == pytest.approx((1 + 0.5**0.5) / 2)

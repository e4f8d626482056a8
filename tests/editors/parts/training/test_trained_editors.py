"""Training an editor's own weights: it can be killed, touches nothing else, names its origin."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from bench.checks.contract.tiny import INNER, tiny_llama
from editors.base import EditSample, Hparams, Resources, TrainableEditor
from editors.lte import LteEditor
from editors.malmen import TINY as MALMEN
from editors.malmen import MalmenEditor
from editors.mend import TINY as MEND
from editors.mend import MendEditor
from editors.parts.artefact import checkpoint_path, read_artefact
from editors.parts.language_model import LanguageModel
from editors.parts.lte_hparams import TINY as LTE
from editors.parts.recipe.hparams import TINY as RECIPE
from editors.parts.training.task import decayed
from editors.r_rome import RRomeEditor, with_rome
from editors.recipe import RecipeEditor
from tests.support.tiny_files import samples

SHORT: dict[str, Any] = {"iterations": 8, "checkpoint_interval": 2, "held_out": 4}
RAMP: dict[str, Any] = {"ramp_start": 2, "ramp_end": 4}
COSINE: dict[str, Any] = {"learning_rate_decay": "cosine"}
Case = tuple[type[TrainableEditor[Any]], Hparams]
CASES: dict[str, Case] = {
    "recipe": (RecipeEditor, dataclasses.replace(RECIPE, **SHORT, **RAMP, **COSINE)),
    "lte": (LteEditor, dataclasses.replace(LTE, **SHORT, **COSINE)),
    "mend": (MendEditor, dataclasses.replace(MEND, **SHORT)),
    "malmen": (MalmenEditor, dataclasses.replace(MALMEN, **SHORT)),
    "r_rome": (RRomeEditor, with_rome("default", **SHORT, width=8, batch_size=6)),
}
SETS = {"zsre": samples(40)}

Fit = Callable[..., Path]


class KilledError(Exception):
    """Ends a training in the middle."""


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return tiny_llama()


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def fit(case: Case, lm: LanguageModel, encoder: Path) -> Fit:
    """`fit(out, seed=0, data=.., progress=.., **changes of hyper-parameters)`."""
    cls, hparams = case

    def run(
        out: Path,
        *,
        seed: int = 0,
        data: Mapping[str, tuple[EditSample, ...]] = SETS,
        progress: Callable[[Mapping[str, float]], None] | None = None,
        **changes: Any,
    ) -> Path:
        chosen = dataclasses.replace(hparams, **changes)
        given = Resources(encoder=encoder, seed=seed)
        return cls.fit(lm, data, chosen, given, out=out, progress=progress)

    return run


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "killed"])
def test_an_interrupted_training_ends_in_the_same_file(
    fit: Fit, tmp_path: Path, *, stopped: bool
) -> None:
    whole, out = fit(tmp_path / "whole"), tmp_path / "interrupted"
    checkpoint = checkpoint_path(out / whole.name)
    saved = b""

    def interrupt(numbers: Mapping[str, float]) -> None:
        nonlocal saved
        if numbers["iteration"] == 5:
            saved = checkpoint.read_bytes()  # at 4
            raise KilledError

    with pytest.raises(KilledError):
        fit(out, progress=interrupt)
    assert list(out.iterdir()) == [checkpoint]
    if not stopped:  # a killed process saves nothing more
        checkpoint.write_bytes(saved)
    steps: list[Mapping[str, float]] = []
    path = fit(out, progress=steps.append)
    assert steps[0]["iteration"] == (6 if stopped else 5)
    assert list(out.iterdir()) == [path]
    assert path.read_bytes() == whole.read_bytes()


def test_training_leaves_the_model_and_the_global_generator_alone(
    fit: Fit, lm: LanguageModel, tmp_path: Path
) -> None:
    weights = {name: tensor.clone() for name, tensor in lm.model.state_dict().items()}
    before = torch.get_rng_state()
    first = fit(tmp_path / "first")
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(lm.model.state_dict()[name], t) for name, t in weights.items())
    assert not any(p.requires_grad or p.grad is not None for p in lm.model.parameters())
    torch.rand(7)  # the global generator stands elsewhere now
    assert fit(tmp_path / "second").read_bytes() == first.read_bytes()
    assert fit(tmp_path / "third", seed=1).read_bytes() != first.read_bytes()


def test_the_header_says_where_the_weights_come_from(fit: Fit, case: Case, tmp_path: Path) -> None:
    data = {"zsre": samples(40), "cf": samples(30)}
    steps: list[Mapping[str, float]] = []
    path = fit(tmp_path, data=data, progress=steps.append)
    assert path.stem.endswith("-tiny-llama")  # one artefact of both data sets
    _, header = read_artefact(path)
    assert [step["iteration"] for step in steps] == list(range(1, 9))
    assert header["hparams"]["iterations"] == 8
    assert header["backbone"] == "tiny-llama"
    if case[0].uses_encoder:
        assert len(header["encoder_digest"]) == 64
    sizes = {name: facts["samples"] for name, facts in header["data"].items()}
    assert sizes == {"zsre": 40, "cf": 30}
    assert [entry["iteration"] for entry in header["history"]] == [2, 4, 6, 8]
    assert header["selected_loss"] in [entry["held_out_loss"] for entry in header["history"]]
    for name, edits in (("zsre", 4), ("cf", 3)):
        scores = header["validation"][name]
        assert scores["edits"] == edits
        assert {f"{name}.{key}" for key in ("reliability", "generality", "locality")} <= set(
            header["history"][0]
        )


def test_another_runs_files_are_never_overwritten(fit: Fit, tmp_path: Path) -> None:
    path = fit(tmp_path)
    assert path.stem.endswith("tiny-llama-zsre")  # of a single data set
    written = path.stat().st_mtime_ns
    assert fit(tmp_path) == path
    assert path.stat().st_mtime_ns == written
    with pytest.raises(ValueError, match="seed is 0 there and 1"):
        fit(tmp_path, seed=1)
    with pytest.raises(ValueError, match="hparams"):
        fit(tmp_path, learning_rate=0.5)
    assert path.stat().st_mtime_ns == written


def test_no_data_and_too_little_data_are_refused(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one data set"):
        fit(tmp_path, data={})
    with pytest.raises(ValueError, match="got 3"):
        fit(tmp_path, data={"zsre": samples(3)})
    assert list(tmp_path.iterdir()) == []


def test_weights_are_used_for_what_they_were_trained_for(
    case: Case, lm: LanguageModel, encoder: Path, tmp_path: Path
) -> None:
    cls, hparams = case
    known, other = (
        LanguageModel(lm.model, lm.tokenizer, name=lm.name, digest=letter * 64) for letter in "ab"
    )
    given = Resources(encoder=encoder, covariance=lambda _: torch.eye(INNER))
    trained = cls.fit(known, SETS, hparams, given, out=tmp_path)
    cls(known, hparams, dataclasses.replace(given, artefact=trained))
    with pytest.raises(ValueError, match="backbone_digest is 'aaaa"):
        cls(other, hparams, dataclasses.replace(given, artefact=trained))
    with pytest.raises(ValueError, match="bench train --editor"):
        cls(known, hparams, given)
    if cls.uses_encoder:
        with pytest.raises(ValueError, match="sentence encoder, got none"):
            cls(known, hparams, dataclasses.replace(given, encoder=None, artefact=trained))
    path = tmp_path / "none.safetensors"
    elsewhere = dataclasses.replace(given, artefact=path)
    with pytest.raises(FileNotFoundError, match="No trained weights at"):
        cls(known, hparams, elsewhere)
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        cls(known, hparams, elsewhere)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="not written by training"):
        cls(known, hparams, elsewhere)


def test_rates_stay_or_fall_along_a_cosine() -> None:
    assert [decayed("none", i, 8) for i in (0, 4, 7)] == [1, 1, 1]
    falling = [decayed("cosine", i, 8) for i in (0, 2, 4)]
    assert falling == pytest.approx([1, (1 + 0.5**0.5) / 2, 1 / 2])

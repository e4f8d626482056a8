"""MEND: its modes, its optimiser, its training, and what it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.checks.contract.tiny import REQUESTS, tiny_gptj, tiny_llama
from editors.base import Resources
from editors.mend import TINY, MendEditor, MendHparams
from editors.parts.artefact import checkpoint_path, read_artefact, read_header
from editors.parts.hypernetwork.networks import LowRankShift
from editors.parts.language_model import LanguageModel
from tests.support.tiny_files import samples

DATA = {"tiny": samples()}
QUICK = dataclasses.replace(TINY, iterations=6, checkpoint_interval=2)


def fit(out: Path, hparams: MendHparams = QUICK, **more: Any) -> Path:
    return MendEditor.fit(tiny_llama(), DATA, hparams, Resources(), out=out, **more)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("mend"))


@pytest.mark.parametrize(("mode", "live"), [("live_rate", True), ("original", False)])
def test_the_edit_rates_learn_by_their_own_rate_or_hardly(mode: str, live: bool) -> None:
    hparams = MendHparams.from_dict(
        TINY.to_dict() | {"mode": mode, "learning_rate": 1e-6, "edit_rate_learning_rate": 1e-2}
    )
    with torch.random.fork_rng():
        network = MendEditor.new_network(MendEditor.projections(tiny_llama(), hparams), hparams)
    optimiser = MendEditor.optimiser(network, hparams)
    before = network.edit_rates.detach().clone()
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    moved = (before - network.edit_rates).detach()
    expected = 1e-2 if live else 1e-6
    torch.testing.assert_close(moved, torch.full_like(moved, expected), rtol=1e-3, atol=1e-9)


def test_the_easyedit_mode_selects_the_last_checkpoint(tmp_path: Path) -> None:
    hparams = dataclasses.replace(QUICK, mode="easyedit", learning_rate=0.3)  # it gets worse
    header = read_header(fit(tmp_path, hparams))
    losses = [entry["held_out_loss"] for entry in header["history"]]
    assert losses[-1] > min(losses)
    assert header["selected_iteration"] == 6
    with pytest.raises(ValueError, match="patience must be None, got 5"):
        dataclasses.replace(hparams, patience=5)


def test_a_step_that_is_not_finite_changes_no_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: LanguageModel, __: Any, shifts: Mapping[str, LowRankShift], ___: int) -> Tensor:
        return torch.stack([shift.left.sum() * torch.nan for shift in shifts.values()]).sum()

    monkeypatch.setattr("editors.mend.answer_nll", broken)
    steps: list[Mapping[str, float]] = []
    with pytest.raises(ValueError, match="diverged"):
        fit(tmp_path, progress=steps.append)
    assert all(step["skipped"] for step in steps)
    tensors, _ = read_artefact(checkpoint_path(tmp_path / "mend-tiny-llama-tiny.safetensors"))
    ups = [tensor for name, tensor in tensors.items() if name.endswith("up")]
    assert ups
    assert not any(bool(up.any()) for up in ups)


def test_several_requests_are_one_loss(artefact: Path) -> None:
    editor = MendEditor(tiny_llama(), QUICK, Resources(artefact=artefact))
    editor.edit(REQUESTS[:2])
    together = editor.state_dict()
    editor.reset()
    for request in REQUESTS[:2]:
        editor.edit([request])
    for name, weight in editor.state_dict().items():
        assert not torch.allclose(weight, together[name], atol=1e-4)


def test_weights_of_other_networks_are_refused(artefact: Path) -> None:
    lm = tiny_llama()
    given = Resources(artefact=artefact)
    with pytest.raises(ValueError, match="rank is 8 there, wanted 9"):
        MendEditor(lm, dataclasses.replace(QUICK, rank=9), given)
    with pytest.raises(ValueError, match="projections is"):
        MendEditor(tiny_gptj(), QUICK, given)
    with pytest.raises(ValueError, match="projections is"):
        MendEditor(lm, dataclasses.replace(QUICK, layers=(1,)), given)

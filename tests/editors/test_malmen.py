"""MALMEN: its training, edits made together, and what it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.checks.contract.tiny import REQUESTS, tiny_gpt2
from editors.base import Resources
from editors.malmen import TINY, MalmenEditor, MalmenHparams
from editors.parts.artefact import read_header
from tests.support.tiny_files import samples

MADE = {"made": samples()}
QUICK = dataclasses.replace(TINY, iterations=6, checkpoint_interval=2)


class KilledError(Exception):
    """Ends a training in the middle."""


def fit(out: Path, hparams: MalmenHparams = QUICK, **more: Any) -> Path:
    return MalmenEditor.fit(tiny_gpt2(), MADE, hparams, Resources(), out=out, **more)


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tmp_path_factory.mktemp("malmen"))


def test_training_makes_the_edit_loss_fall(tmp_path: Path) -> None:
    steps: list[Mapping[str, float]] = []
    path = fit(tmp_path, TINY, progress=steps.append)
    assert steps[-1]["edit"] < 0.9 * steps[0]["edit"]
    header = read_header(path)
    assert header["hparams"]["n_edits"] == 1
    scores = header["validation"]["made"]
    assert (scores["edits"], scores["together"]) == (4, 1)
    assert header["selected_loss"] == pytest.approx(scores["loss"])


def test_a_killed_training_ends_in_the_same_weights(tmp_path: Path, artefact: Path) -> None:
    def kill(numbers: Mapping[str, float]) -> None:
        if numbers["iteration"] == 3:  # one step behind the checkpoint at 2
            raise KilledError

    with pytest.raises(KilledError):
        fit(tmp_path, progress=kill)
    assert fit(tmp_path).read_bytes() == artefact.read_bytes()


def test_edits_made_together_are_recorded_and_validated_so(tmp_path: Path) -> None:
    hparams = dataclasses.replace(QUICK, n_edits=3, micro_batch=2, batch_size=2)
    header = read_header(fit(tmp_path, hparams))
    assert header["hparams"]["n_edits"] == 3
    scores = header["validation"]["made"]
    assert (scores["edits"], scores["together"]) == (4, 3)  # one system; the fourth is left


def test_many_requests_do_not_depend_on_the_micro_batch_but_for_their_losses(
    artefact: Path,
) -> None:
    states = []
    for micro_batch in (1, 4, 32):
        hparams = dataclasses.replace(QUICK, micro_batch=micro_batch)
        editor = MalmenEditor(tiny_gpt2(), hparams, Resources(artefact=artefact))
        editor.edit(REQUESTS)
        states.append(editor.state_dict())
    for name, weight in states[1].items():
        assert torch.equal(weight, states[2][name])  # both hold all four requests
        assert not torch.equal(weight, states[0][name])  # a loss for each request


def test_missing_or_foreign_weights_are_refused(artefact: Path) -> None:
    lm = tiny_gpt2()
    with pytest.raises(ValueError, match="bench train --editor malmen"):
        MalmenEditor(lm, QUICK, Resources())
    with pytest.raises(ValueError, match="n_blocks is 2 there, wanted 3"):
        MalmenEditor(lm, dataclasses.replace(QUICK, n_blocks=3), Resources(artefact=artefact))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mode": "exakt"}, "Unknown mode 'exakt'. Did you mean 'exact'"),
        ({"n_edits": 0}, "n_edits must be a number of at least 1"),
        ({"weight_locality": -1}, "weight_locality must be a number of at least 0"),
    ],
)
def test_bad_hyper_parameters_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MalmenHparams.from_dict(TINY.to_dict() | changes)

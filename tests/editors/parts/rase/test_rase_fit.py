from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.checks.contract.tiny import tiny_gptj, tiny_llama, write_encoder
from editors.parts.artefact import checkpoint_path, read_artefact, read_header
from editors.parts.rase.fit import fit_rase, load_retriever
from editors.parts.rase.hparams import RaseHparams, trained_values
from tests.support.tiny_files import samples

HPARAMS = RaseHparams(width=8, batch_size=6, iterations=6, checkpoint_interval=3, held_out=4)


class KilledError(Exception):
    """Raised in the middle of a training."""


def fit(directory: Path, hparams: RaseHparams = HPARAMS, **changes: object) -> Path:
    given = {"made": samples(40), "again": samples(20)}
    encoder = write_encoder(directory / "encoder")
    settings = {"encoder": encoder, "seed": 0, "out": directory / "out", **changes}
    return fit_rase(tiny_llama(), given, hparams, **settings)  # type: ignore[arg-type]


def test_an_artefact_says_what_its_gate_does(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    before = torch.get_rng_state()
    path = fit(tmp_path, progress=lambda numbers: seen.append(dict(numbers)))
    assert torch.equal(torch.get_rng_state(), before)
    assert path.name == "r_rome-tiny-llama.safetensors"
    header = read_header(path)
    assert header["hparams"] == trained_values(HPARAMS)
    assert header["validation"].keys() == {"made", "again"}
    assert header["validation"]["made"]["edits"] == 4
    assert 0 <= header["validation"]["made"]["false_hit"] <= 1
    assert [numbers["iteration"] for numbers in seen] == [1, 2, 3, 4, 5, 6]
    assert "made.reliability" in seen[2]
    assert "sentences_loss" in seen[0]


def test_a_killed_training_ends_in_the_same_weights(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole")

    def kill(numbers: object) -> None:
        if checkpoint_path(tmp_path / "out" / whole.name).exists():
            raise KilledError

    with pytest.raises(KilledError):
        fit(tmp_path, progress=kill)
    resumed = fit(tmp_path)
    one, other = read_artefact(whole)[0], read_artefact(resumed)[0]
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(ValueError, match="another training run: hparams"):
        fit(tmp_path, replace(HPARAMS, width=9))


def test_without_heads_only_the_gates_are_calibrated(tmp_path: Path) -> None:
    path = fit(tmp_path, replace(HPARAMS, heads="untrained"))
    tensors, header = read_artefact(path)
    assert tensors.keys() == {"gates"}
    assert header["selected_iteration"] == 0
    assert header["validation"]["made"]["edits"] == 4
    assert fit(tmp_path, replace(HPARAMS, heads="untrained")) == path


def test_a_retriever_is_refused_where_it_does_not_belong(tmp_path: Path) -> None:
    path = fit(tmp_path)
    encoder = tmp_path / "encoder"
    retriever = load_retriever(path, tiny_llama(), encoder, HPARAMS)
    assert retriever.facts(["a fact", "another one"]).shape == (2, 8)
    assert not retriever.network.training
    in_use = replace(HPARAMS, two_way=True, gate="published", iterations=1)
    load_retriever(path, tiny_gptj(), encoder, in_use)  # any model: it takes no part
    with pytest.raises(ValueError, match="do not fit: width is 8 there, wanted 9"):
        load_retriever(path, tiny_llama(), encoder, replace(HPARAMS, width=9))
    write_encoder(encoder, pooler=False)  # the same digest would need the same weights
    with pytest.raises(ValueError, match="do not fit: encoder_digest"):
        load_retriever(path, tiny_llama(), encoder, HPARAMS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("heads", "trian"),
        ("gate", "tuned"),
        ("width", 0),
        ("temperature", 0.0),
        ("margin", -0.1),
        ("learning_rate", 0.0),
        ("artefact_dtype", "float64"),
    ],
)
def test_impossible_settings_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"must be|Available"):
        RaseHparams.from_dict({field: value})

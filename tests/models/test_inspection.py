"""What is refused of a model directory before any cell, and what plays no part."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.models.backbones import check_layers, check_loadable, load, locate
from editors.ft import FtHparams
from editors.ultraedit import UltraEditHparams
from tests.support.odd_models import (
    FILES,
    HARMLESS,
    LIBRARIES,
    PROJECTION,
    WEIGHTS,
    Damage,
    around_texts,
    entry,
    weights,
)


def one_sentence(error: BaseException) -> bool:
    return "\n" not in str(error) and str(error).endswith(".")


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_refused_when_they_are_located(name: str, copy: Path) -> None:
    damage, sentence = FILES[name]
    damage(copy)
    with pytest.raises(ValueError, match=str(copy)) as error:
        locate(str(copy))
    assert sentence in str(error.value)
    assert one_sentence(error.value)


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_the_libraries_cannot_read_is_a_sentence(name: str, copy: Path) -> None:
    damage, sentence = LIBRARIES[name]
    damage(copy)
    backbone = locate(str(copy))
    for attempt in (check_loadable, load):
        with pytest.raises(ValueError, match=r".") as error:
            attempt(backbone)
        assert sentence in str(error.value)
        assert one_sentence(error.value)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_plays_no_part(name: str, copy: Path) -> None:
    HARMLESS[name](copy)
    backbone = locate(str(copy))
    check_loadable(backbone)
    stored = load_file(copy / WEIGHTS)[PROJECTION]
    assert torch.equal(load(backbone).model.get_parameter(PROJECTION), stored)


@pytest.mark.parametrize(
    "name", [f"{PROJECTION}_scale", "model.layers.3.mlp.down_proj.weight", "v_head.weight"]
)
def test_tensors_that_would_be_left_out_are_refused(name: str, copy: Path) -> None:
    weights(lambda tensors: tensors.update({name: torch.ones(1)}))(copy)
    for attempt in (check_loadable, load):
        with pytest.raises(ValueError, match="does not have: ") as error:
            attempt(locate(str(copy)))
        assert name in str(error.value)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (weights(lambda tensors: tensors.pop(PROJECTION)), f"lack tensors .*: {PROJECTION}"),
        (weights(lambda t: t.update({PROJECTION: torch.ones(3, 3)})), r"in the shape \(3, 3\)"),
        (entry("config.json", vocab_size=300), "config.json wants"),
        (entry("config.json", num_hidden_layers=1), r"does not have: model.layers.1"),
        (entry("generation_config.json", eos_token_id=["2"]), "expected a whole number"),
    ],
)
def test_weights_and_configurations_that_differ_are_refused_before_any_cell(
    damage: Damage, sentence: str, copy: Path
) -> None:
    damage(copy)
    for attempt in (check_loadable, load):
        with pytest.raises(ValueError, match=sentence):
            attempt(locate(str(copy)))


def test_a_model_that_answers_no_numbers_is_named_before_any_statistics(copy: Path) -> None:
    weights(lambda tensors: tensors[PROJECTION].fill_(torch.nan))(copy)
    with pytest.raises(ValueError, match=rf"unedited model copy .*\(NaN\): {PROJECTION} of its"):
        load(locate(str(copy)))


def test_a_bos_that_no_prompt_gets_is_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_loadable(locate(str(copy)))
    assert "BOS" not in capsys.readouterr().err
    around_texts()(copy)
    check_loadable(locate(str(copy)))
    assert "names a BOS (1, '<s>'), which its tokenizer puts in front of no" in (
        capsys.readouterr().err
    )
    entry("config.json", bos_token_id=2)(copy)  # as in GPT's families
    check_loadable(locate(str(copy)))
    assert "BOS" not in capsys.readouterr().err


def test_further_ends_of_a_directory_are_known(copy: Path) -> None:
    entry("generation_config.json", eos_token_id=[2, 9])(copy)
    entry("config.json", eos_token_id=[2, 11])(copy)
    assert load(locate(str(copy))).special.ends == {1, 2, 9, 11}


def test_blocks_that_are_not_there_are_refused(saved: Path) -> None:
    backbone = locate(str(saved))
    check_layers(FtHparams(layer=2), backbone, label="FT")
    check_layers(FtHparams(layer=None), backbone, label="FT")
    with pytest.raises(ValueError, match="FT's layer is to be among the blocks 0 to 2 of my-llama"):
        check_layers(FtHparams(layer=3), backbone, label="FT")
    with pytest.raises(ValueError, match=r"gate_layers .* got 9"):
        check_layers(UltraEditHparams(layers=(1,), gate_layers=(9,)), backbone, label="UltraEdit")

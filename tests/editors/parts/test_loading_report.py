"""Weights of sentence encoders that do not fit their configuration are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.models.resources import encoder_directory
from editors.parts.encoder import SentenceEncoder
from editors.parts.loading_report import check_report
from editors.parts.text_vectors import TextVectors
from tests.support.tiny_encoder import write_encoder

DENSE = "encoder.layer.1.output.dense.weight"
Loader = Callable[[Path], object]
LOADERS: list[Loader] = [
    SentenceEncoder.from_directory,
    lambda directory: TextVectors.from_directory(directory, torch.device("cpu")),
]


def changed(directory: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    path = write_encoder(directory) / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    return directory


@pytest.mark.parametrize("loader", LOADERS)
def test_a_missing_tensor(loader: Loader, tmp_path: Path) -> None:
    directory = changed(tmp_path, lambda tensors: tensors.pop(DENSE))
    with pytest.raises(ValueError, match=rf"lack tensors of the model: {DENSE}\.$"):
        loader(directory)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_tensor_of_another_shape(loader: Loader, tmp_path: Path) -> None:
    directory = changed(tmp_path, lambda tensors: tensors.update({DENSE: torch.zeros(3, 4)}))
    with pytest.raises(ValueError, match=rf"have {DENSE} in the shape \(3, 4\), but its config"):
        loader(directory)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_pooler_may_be_missing(loader: Loader, tmp_path: Path) -> None:
    loader(write_encoder(tmp_path, pooler=False))


def test_only_the_first_missing_ones_are_named() -> None:
    report = {"missing_keys": {f"w{number}" for number in range(9)}, "mismatched_keys": set()}
    with pytest.raises(ValueError, match=r": w0, w1, w2\.$"):
        check_report(report, Path("x"))


def test_pickled_encoders_and_remote_code_are_refused(tmp_path: Path) -> None:
    directory = write_encoder(tmp_path)
    assert encoder_directory(str(directory), hub=False) == directory
    (directory / "generation_config.json").write_text('{"auto_map": {"AutoModel": "x.Y"}}')
    with pytest.raises(ValueError, match=r"asks for remote code \(auto_map\)"):
        encoder_directory(str(directory), hub=False)
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(ValueError, match="python -m bench import-weights"):
        encoder_directory(str(directory), hub=False)

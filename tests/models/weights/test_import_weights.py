"""`import-weights`: tensors come through, code does not."""

from __future__ import annotations

import collections
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.checks.contract.tiny import TINY
from bench.cli.main import main
from bench.models.backbones import load, locate
from bench.models.weights import convert as converting
from editors.parts.tokens import batch_of
from tests.support.tiny_files import save_tiny


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


def pickled_model(architecture: str, directory: Path, shards: int = 1) -> dict[str, torch.Tensor]:
    """A tiny model with its weights in pickled files, as older libraries saved them."""
    save_tiny(architecture, directory)
    (directory / "model.safetensors").unlink()
    weights: dict[str, torch.Tensor] = TINY[architecture]().model.state_dict()
    names = sorted(weights)
    if shards == 1:
        torch.save(weights, directory / "pytorch_model.bin")
        return weights
    files: dict[str, str] = {}
    for number in range(shards):
        name = f"pytorch_model-{number + 1:05}-of-{shards:05}.bin"
        part = names[number::shards]
        torch.save({key: weights[key].clone() for key in part}, directory / name)
        files |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return weights


def same_answers(architecture: str, directory: Path) -> bool:
    original, lm = TINY[architecture](), load(locate(str(directory)))
    batch = batch_of(lm.tokenizer, [("Ina is", "at home")], device=lm.device)
    return torch.equal(lm.target_logits(batch), original.target_logits(batch))


class Evil:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.path}'",)


def error_of(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["import-weights", *map(str, words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("architecture", sorted(TINY))  # GPT-2's head is tied to its embeddings
def test_a_model_directory_loads_as_the_model_it_was(architecture: str, tmp_path: Path) -> None:
    directory = tmp_path / "old"
    pickled_model(architecture, directory)
    with pytest.raises(ValueError, match="python -m bench import-weights"):
        locate(str(directory))
    assert main(["import-weights", str(directory)]) == 0
    assert same_answers(architecture, directory)
    assert (directory / "pytorch_model.bin").exists()


def test_shards_stay_shards_elsewhere_with_what_loading_reads(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    weights = pickled_model("llama", old, shards=3)
    (old / "README.md").write_text("notes")
    assert main(["import-weights", str(old), "--out", str(new)]) == 0
    index = json.loads((new / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 1}
    assert set(index["weight_map"]) == set(weights)
    shards = [f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)]
    assert sorted(set(index["weight_map"].values())) == shards
    assert sorted(path.name for path in new.glob("*.safetensors")) == shards
    assert not (new / "README.md").exists()
    assert not list(old.glob("*.safetensors"))
    assert same_answers("llama", new)


@pytest.mark.parametrize(
    ("wrapped", "legacy"), [(None, True), (None, False), ("state_dict", True), ("model", False)]
)
def test_a_file_of_a_training_script(tmp_path: Path, wrapped: str | None, legacy: bool) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = collections.OrderedDict(
        whole=base, part=base[:2, 1:3], turned=base.T, half=torch.ones(2, dtype=torch.bfloat16)
    )
    content = tensors if wrapped is None else {"step": 3, wrapped: tensors}
    torch.save(content, tmp_path / "w.v1.pt", _use_new_zipfile_serialization=not legacy)
    assert main(["import-weights", str(tmp_path / "w.v1.pt"), "--out", str(tmp_path / "out")]) == 0
    loaded = load_file(tmp_path / "out" / "w.v1.safetensors")
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {
        name: tensor.tolist() for name, tensor in tensors.items()
    }
    assert loaded["half"].dtype == torch.bfloat16


@pytest.mark.parametrize("where", ["alone", "among_tensors", "in_a_zip", 0, 4])
def test_code_in_a_pickle_is_not_run(
    where: str | int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In every place, and in other protocols of pickle than torch reads."""
    mark, file = tmp_path / "mark", tmp_path / "evil.bin"
    evil: Any = {"x": Evil(mark), "w": torch.ones(1)} if where != "alone" else Evil(mark)
    if where == "in_a_zip":
        torch.save(evil, file)
    else:
        file.write_bytes(pickle.dumps(evil, protocol=where if isinstance(where, int) else 2))
    sentence = error_of(capsys, file, "--out", tmp_path / "out")
    assert not mark.exists()
    assert str(file) in sentence
    assert isinstance(where, int) or "posix.system" in sentence
    assert "weights_only" not in sentence  # torch's own advice is how to run it
    assert list((tmp_path / "out").iterdir()) == []


def test_the_file_would_have_written_its_mark(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    code = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(Evil(mark)), check=True)
    assert mark.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ([1, 2], "list"),
        ({}, "dict"),
        ({"w": torch.ones(1), "epoch": 3}, "int at 'epoch'"),
        ({3: torch.ones(1)}, "Tensor at 3"),
        ({"w": torch.ones(2, 2).to_sparse()}, "tensor 'w' is sparse"),
        (b"\x80\x02nonsense", "no file of tensors"),
    ],
)
def test_files_without_plain_tensors(
    content: object, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    assert named in error_of(capsys, file)
    assert not list(tmp_path.glob("*.safetensors"))


def test_time_is_limited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"w": torch.ones(1)}, tmp_path / "x.bin")
    monkeypatch.setattr(converting, "SECONDS", 0.05)
    assert "within 0 seconds" in error_of(capsys, tmp_path / "x.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.socket().connect(('127.0.0.1', 9))",
        "import os; os.system('true')",
        "import subprocess; subprocess.run(['true'])",
        "import ctypes; ctypes.CDLL('libm.so.6')",
    ],
)
def test_the_reading_process_has_a_guard(code: str) -> None:
    guarded = (
        f"import runpy, sys; s = runpy.run_path({str(converting.UNPICKLE)!r}); "
        f"sys.addaudithook(s['_guard']); {code}"
    )
    done = subprocess.run(
        [sys.executable, "-c", guarded], capture_output=True, text=True, check=False
    )
    assert "PermissionError: it tried " in done.stderr


def empty_files(*names: str) -> Any:
    return lambda directory: [(directory / name).write_bytes(b"") for name in names]


def index(value: object) -> Any:
    text = json.dumps(value)
    return lambda directory: (directory / "pytorch_model.bin.index.json").write_text(text)


@pytest.mark.parametrize(
    ("fill", "named"),
    [
        (empty_files(), "no pickled weights"),
        (empty_files("a.pt", "optimizer.pt"), "a.pt, optimizer.pt"),
        (index({"weight_map": {"w": "../../secret.bin"}}), "'../../secret.bin'"),
        (index({"weight_map": {"w": "pytorch_model-1.bin"}}), "pytorch_model-1.bin"),
        (index([]), "pytorch_model.bin.index.json"),
        (index({"weight_map": {}}), "no weight_map"),
        (empty_files("model.safetensors"), "safetensors weights already"),
    ],
)
def test_directories_that_are_refused(
    fill: Any, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path)
    assert named in error_of(capsys, tmp_path)


def test_files_that_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert str(tmp_path / "none") in error_of(capsys, tmp_path / "none")
    (tmp_path / "x.safetensors").write_bytes(b"")
    assert "safetensors file already" in error_of(capsys, tmp_path / "x.safetensors")

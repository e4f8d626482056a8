"""GGUF files as backbones: converted once, the same model as before, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.models import gguf
from bench.models.backbones import at_directory, like, load, locate
from tests.support.tiny_gguf import write_gguf

pytest.importorskip("gguf", reason="the extra gguf is not installed")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gpt2"])
@torch.no_grad()
def test_a_gguf_file_is_the_model_it_was_written_from(architecture: str, tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "my-model.gguf", architecture)
    lm = load(locate(str(tmp_path / "my-model.gguf")))
    assert (lm.name, lm.dtype, lm.model.config.model_type) == (
        "my-model", torch.float32, architecture,
    )  # fmt: skip
    ids = torch.tensor([lm.tokenizer("the thin air in")["input_ids"]])
    assert lm.tokenizer.decode(ids[0]) == "the thin air in"
    assert ids.shape[1] < len("the thin air in")  # its merges are read
    torch.testing.assert_close(lm.model(ids).logits, model(ids).logits, atol=1e-5, rtol=1e-4)


def test_it_is_converted_once_and_known_by_what_was_written(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.gguf"
    write_gguf(file, "llama")
    first = locate(str(file))
    assert first.directory.is_relative_to(cache)
    assert first.digest == at_directory(first.directory, name="other").digest
    monkeypatch.setattr(gguf, "convert", lambda *_: pytest.fail("converted again"))
    assert locate(str(file)) == first
    assert like(str(file)) == "default"
    (first.directory / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"config\.json is damaged.*converted again"):
        locate(str(file))


def test_what_is_no_such_model_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_gguf(tmp_path / "other.gguf", "llama", called="mamba")
    write_gguf(tmp_path / "part.gguf", "llama", without="blk.1.ffn_up.weight")
    (tmp_path / "text.gguf").write_text("no model")
    for name, sentence in {
        "other": "architecture 'mamba'; wanted one of llama, qwen2, qwen3, gpt2",
        "part": r"lack tensors of the model: model.layers.1.mlp.up_proj.weight",
        "text": "cannot be read",
        "none": "No GGUF file at",
    }.items():
        with pytest.raises((ValueError, OSError), match=sentence) as error:
            locate(str(tmp_path / f"{name}.gguf"))
        assert "\n" not in str(error.value)
    monkeypatch.setattr(gguf, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"pip install 'lifelong-edit-bench\[gguf\]'"):
        locate(str(tmp_path / "other.gguf"))
    assert not [path for path in cache.rglob("*") if path.is_file()]

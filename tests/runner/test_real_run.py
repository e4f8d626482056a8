"""The real CounterFact file and GPT-2's real tokenizer, where `EDIT_BENCH_DATA` says they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.cli.main import main


@pytest.fixture(scope="module")
def small_gpt2(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random GPT-2 with the vocabulary of the real one."""
    from transformers import GPT2Config, GPT2LMHeadModel

    directory = tmp_path_factory.mktemp("models") / "small-gpt2"
    config = GPT2Config(n_embd=16, n_layer=3, n_head=2, n_positions=256)
    GPT2LMHeadModel(config).save_pretrained(directory)
    for source, name in (("encoder.json", "vocab.json"), ("vocab.bpe", "merges.txt")):
        (file,) = data_dir.rglob(source)
        shutil.copy(file, directory / name)
    return directory


@pytest.mark.slow
def test_real_counterfact_runs_on_a_model_given_by_its_path(
    data_dir: Path, small_gpt2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    arguments = ["run", "--table", "1", "--datasets", "cf", "--data-dir", str(data_dir)]
    arguments += ["--editors", "ft,grace", "--edits", "1,2", "--limit", "2", "--jobs", "1"]
    assert main([*arguments, "--backbone", str(small_gpt2), "--out", "out"]) == 0
    records = [json.loads(path.read_text()) for path in Path("out").glob("*.json")]
    assert len(records) == 4
    for record in records:
        assert record["data"]["samples"] == 10_000
        assert record["cell"]["dataset_revision"].startswith("published ")
        for row in record["rows"]:
            assert all(item["prompt"] and item["target_ids"] for item in row["items"])

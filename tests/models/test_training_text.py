"""The text of key statistics on real data: statements of training splits, and no test edit."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.core.config import RunConfig
from bench.models.resources import check_real_data, corpus_for, sources_for
from bench.models.training_text import TOKENS, training_corpus
from bench.tables.table import text_of
from editors.rome import RomeHparams
from tests.datasets.example_rows import counterfact_row, write, zsre_row


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    directory = tmp_path / "data"
    directory.mkdir()
    write(
        directory, "counterfact", "train", [counterfact_row(target_new=f"T{i}") for i in range(40)]
    )
    write(directory, "counterfact", "test", [counterfact_row(target_new="tested")])
    return directory


def test_statements_of_training_edits_and_their_questions_are_the_text(data: Path) -> None:
    corpus = training_corpus(data)
    lines = list(corpus.texts())
    statements = {statement for line in lines for statement in line.removesuffix(".").split(". ")}
    row = counterfact_row(target_new="T3")
    assert f"{row['prompt']} T3" in statements
    assert f"{row['rephrase_prompt']} T3" in statements
    assert f"{row['locality_prompt']} {row['locality_ground_truth']}" in statements
    assert len(statements) == 2 * 40 + 1  # each once
    assert "tested" not in " ".join(lines)
    assert len(lines) == 6
    assert corpus.tokens == TOKENS
    assert corpus.identity.startswith("training statements (CF) ")


def test_it_is_that_of_all_training_splits_and_changes_with_them(data: Path) -> None:
    before = training_corpus(data)
    assert training_corpus(data) == before
    write(data, "zsre", "train", [zsre_row(alt=f"Port {i}") for i in range(3)])
    after = training_corpus(data)
    assert after.identity != before.identity
    assert "(ZSRE, CF)" in after.identity
    assert any("Port 2" in line for line in after.texts())


def test_a_real_model_takes_it_unless_another_text_is_named(data: Path, tmp_path: Path) -> None:
    other, empty = tmp_path / "other.txt", tmp_path / "empty"
    empty.mkdir()
    other.write_text("Another text.\n")
    rome = RomeHparams(layer=1)
    config = RunConfig(data_dir=data)
    for like in ("default", "smollm2-135m"):
        sources = sources_for("rome", "mine", rome, dataset="counterfact", like=like, config=config)
        assert sources.corpus == training_corpus(data)
    named = RunConfig(data_dir=data, corpus=str(other))
    assert corpus_for("default", named).place == str(other)
    assert "training" not in corpus_for("mini-llama", config).identity
    with pytest.raises(FileNotFoundError, match=r"has no training split of a data set.*--corpus"):
        training_corpus(empty)


def test_invented_facts_are_refused_for_a_real_model(data: Path) -> None:
    with pytest.raises(ValueError, match=r"^mine is no model of the embedded world.*--data-dir"):
        check_real_data("mine", "default", RunConfig())
    check_real_data("mine", "default", RunConfig(data_dir=data))
    check_real_data("mine", "default", RunConfig(weights="random", table=3))
    check_real_data("mini-gpt2", "mini-gpt2", RunConfig())
    with pytest.raises(ValueError, match="no model of the embedded world"):
        corpus_for("default", RunConfig())


@pytest.mark.parametrize(
    ("corpus", "text"),
    [
        (
            "training statements (ZSRE, CF) abc documents 4000 tokens 100000",
            "the statements of the training splits of ZSRE, CF, at most 100,000 tokens",
        ),
        (
            "0123456789abcdef documents 4000 tokens None",
            "the text with sha256 0123456789ab, at most 4,000 documents",
        ),
        (
            "wikimedia/wikipedia@b04c/20231101.en/{} documents 100000 tokens None",
            "the text wikimedia/wikipedia, at most 100,000 documents",
        ),
    ],
)
def test_captions_say_which_text_it_was(corpus: str, text: str) -> None:
    cell = {"inputs": {"corpus": corpus}, "dataset_revision": "published b8ff1fc2"}
    assert text_of(cell) == f"Key statistics and memory texts: {text}."
    assert not text_of(cell | {"dataset_revision": "embedded world 0"})
    assert not text_of(cell | {"inputs": {}})

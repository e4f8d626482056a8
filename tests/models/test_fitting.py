"""Rows that a model cannot read are found before it is asked, on every architecture alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.checks.contract.tiny import CONTEXT
from bench.datasets import get_dataset
from bench.models.backbones import context_of, locate, tokenizer_of
from bench.models.fitting import fitting
from bench.models.key_statistics import open_corpus
from bench.models.training import training_samples
from editors.parts.tokens import prompt_ids
from tests.datasets.example_rows import write, zsre_row
from tests.support.tiny_files import save_tiny

REASON = f"row that does not fit the context of {CONTEXT} tokens of tiny"


def test_a_row_is_left_out_from_the_first_token_beyond_the_context(tmp_path: Path) -> None:
    place = locate(str(save_tiny("gpt2", tmp_path / "tiny")))
    tokenizer, new = tokenizer_of(place), 20
    prompts = ["word " * count for count in range(1, CONTEXT)]
    sizes = [len(prompt_ids(tokenizer, prompt)) for prompt in prompts]
    rows = [zsre_row(loc=prompt, loc_ans="a") for prompt in prompts]
    write(tmp_path, "zsre", "test", rows)
    loaded = get_dataset("zsre").load("test", tmp_path)
    fits = fitting(loaded, place, new_tokens=new)
    wanted = [sample.id for sample, size in zip(loaded.samples, sizes, strict=True)
              if size + new <= CONTEXT]  # fmt: skip
    assert context_of(place) == CONTEXT
    assert 0 < len(wanted) < len(rows)
    assert [sample.id for sample in fits.samples] == wanted
    assert fits.skipped == {REASON: len(rows) - len(wanted)}
    first = f"row {len(wanted)}, locality (unrelated), of {sizes[len(wanted)]:,} tokens"
    assert fits.too_long[0] == first
    assert fits.notes()[-1].startswith(f"too long: {first}, ")


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gptj"])
@pytest.mark.parametrize(
    ("field", "name"),
    [("src", "edit"), ("alt", "edit"), ("rephrase", "generality (rephrase)"),
     ("loc_ans", "locality (unrelated)")],
)  # fmt: skip
def test_every_text_of_a_row_counts(
    architecture: str, field: str, name: str, tmp_path: Path
) -> None:
    place = locate(str(save_tiny(architecture, tmp_path / "tiny")))
    write(tmp_path, "zsre", "test", [zsre_row(), zsre_row(**{field: "w " * CONTEXT})])
    fits = fitting(get_dataset("zsre").load("test", tmp_path), place)
    assert [sample.id for sample in fits.samples] == ["zsre/test/0"]
    assert fits.too_long[0].startswith(f"row 1, {name}, of ")


def test_no_row_that_fits_is_an_error(tmp_path: Path) -> None:
    place = locate(str(save_tiny("llama", tmp_path / "tiny")))
    write(tmp_path, "zsre", "test", [zsre_row(src="w " * CONTEXT)])
    loaded = get_dataset("zsre").load("test", tmp_path)
    with pytest.raises(ValueError, match=r"no row is left \(skipped: 1 x row that does not fit"):
        fitting(loaded, place)


def test_training_rows_beyond_the_context_are_left_out_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = locate(str(save_tiny("gpt2", tmp_path / "tiny")))
    write(tmp_path, "zsre", "train", [zsre_row(), zsre_row(rephrase="w " * CONTEXT)])
    samples = training_samples(["zsre"], tmp_path, place)
    assert [sample.id for sample in samples["zsre"]] == ["zsre/train/0"]
    assert f"zsre: skipped: 1 x {REASON}" in capsys.readouterr().err
    assert len(training_samples(["zsre"], tmp_path)["zsre"]) == 2


@pytest.mark.parametrize(("name", "line"), [("a.txt", "Esk"), ("a.jsonl", '{"text": "Esk"}')])
def test_a_corpus_may_begin_with_a_byte_order_mark(name: str, line: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + f"{line}\n{line}\n".encode())
    texts = [text.strip() for text in open_corpus(str(tmp_path / name)).texts()]
    assert texts == ["Esk", "Esk"]

"""The paper's backbones by their real configurations and tokenizers, with sizes cut down.

Where `EDIT_BENCH_DATA` says they are: `*.config.json`, GPT-2's `encoder.json` and `vocab.bpe`,
LLaMA-2's `tokenizer.model`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from bench.checks.contract.tiny import log_probability
from bench.models.backbones import load, locate
from editors.base import EditRequest, Resources
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import prompt_ids, subject_last, target_ids
from editors.rome import RomeEditor, RomeHparams
from tests.support.cut_down import language_model

GPT2_FILES = (("encoder.json", "vocab.json"), ("vocab.bpe", "merges.txt"))
LLAMA_FILES = (("tokenizer.model", "tokenizer.model"),)
# What LLaMA-2's own tokenizer_config.json says; without it no BOS is put in front.
LLAMA_TOKENIZER = {
    "tokenizer_class": "LlamaTokenizer",
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "legacy": False,
}
BACKBONES = {
    "gpt-j-6b": (GPT2_FILES, 50257),
    "gpt2-xl": (GPT2_FILES, 50257),
    "llama-2-7b-hf": (LLAMA_FILES, 32000),
}
PAIRS = [
    ("The capital of Portugal is", "Lisbon"),
    ("The year was", "1999"),
    ("He answered", '"no"'),
    ("In Japanese it is", "日本"),
    ("They live in", "New York City"),
]


@pytest.fixture(scope="module", params=BACKBONES)
def lm(
    request: pytest.FixtureRequest, data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> LanguageModel:
    """A model that was saved with real tokenizer files and loaded by its path."""
    name = str(request.param)
    directory = tmp_path_factory.mktemp("models") / name
    directory.mkdir()
    (path,) = data_dir.rglob(f"{name}.config.json")
    config: dict[str, Any] = json.loads(path.read_text("utf-8"))
    if config["model_type"] == "llama":
        (directory / "tokenizer_config.json").write_text(json.dumps(LLAMA_TOKENIZER))
    for source, target in BACKBONES[name][0]:
        (path,) = data_dir.rglob(source)
        shutil.copy(path, directory / target)
    (directory / "config.json").write_text(json.dumps(config))
    tokenizer = AutoTokenizer.from_pretrained(str(directory), local_files_only=True)
    model = language_model(name, config, tokenizer).model
    if config["vocab_size"] > len(tokenizer):  # GPT-J has more rows than tokens
        model.resize_token_embeddings(config["vocab_size"], mean_resizing=False)
    model.save_pretrained(directory)
    return load(locate(str(directory)))


def test_the_vocabulary_is_whole(lm: LanguageModel) -> None:
    assert len(lm.tokenizer) == BACKBONES[lm.name][1]
    rows = {"gpt-j-6b": 50400}.get(lm.name, len(lm.tokenizer))
    assert lm.module(lm.architecture.embeddings).get_parameter("weight").shape[0] == rows


def test_bos_stands_in_front_on_llama_alone(lm: LanguageModel) -> None:
    first = prompt_ids(lm.tokenizer, "Lisbon is")[0]
    assert (first == lm.tokenizer.bos_token_id) == (lm.architecture.model_type == "llama")


@pytest.mark.parametrize(("prompt", "target"), PAIRS)
def test_prompt_and_target_join_at_one_space(lm: LanguageModel, prompt: str, target: str) -> None:
    joined = prompt_ids(lm.tokenizer, prompt) + target_ids(lm.tokenizer, target, prompt)
    assert joined == prompt_ids(lm.tokenizer, f"{prompt} {target}")
    again = target_ids(lm.tokenizer, f" {target}", f"{prompt} ")
    assert again == target_ids(lm.tokenizer, target, prompt)


@pytest.mark.parametrize(
    ("prompt", "target"),
    [
        ("\u65e5\u672c\u306e\u9996\u90fd\u306f", "\u6771\u4eac"),
        ("\u4e2d\u56fd\u7684\u9996\u90fd\u662f", "\u5317\u4eac"),
        (
            "\u0e40\u0e21\u0e37\u0e2d\u0e07\u0e2b\u0e25\u0e27\u0e07\u0e04\u0e37\u0e2d",
            "\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e",
        ),
    ],
)
def test_scripts_without_spaces_join_without_one(
    lm: LanguageModel, prompt: str, target: str
) -> None:
    ids = [*prompt_ids(lm.tokenizer, prompt), *target_ids(lm.tokenizer, target, prompt)]
    text = str(lm.tokenizer.decode(ids, skip_special_tokens=True)).strip()
    assert text == prompt + target


def test_no_text_becomes_a_special_token(lm: LanguageModel) -> None:
    special = set(lm.tokenizer.all_special_ids)
    for mark in lm.tokenizer.all_special_tokens:
        text = f"The {mark} of Bern{mark}"
        assert not special & {*prompt_ids(lm.tokenizer, text)[len(lm.special.front) :]}
        assert not special & {*target_ids(lm.tokenizer, mark)}


@pytest.mark.parametrize("template", ["{}", "It rains. {}"])
def test_the_subject_ends_where_it_is_looked_up(lm: LanguageModel, template: str) -> None:
    prompt = "The mayor of New Veltria is"
    index = subject_last(lm.tokenizer, prompt, "New Veltria", template=template)
    ids = prompt_ids(lm.tokenizer, template.format(prompt))[: index + 1]
    text = str(lm.tokenizer.decode(ids, skip_special_tokens=True)).strip()
    assert text == template.format("The mayor of New Veltria")


def test_rome_writes_and_undoes_a_fact(lm: LanguageModel) -> None:
    hparams = RomeHparams(
        layer=1, mode="easyedit", v_num_grad_steps=10, v_weight_decay=0.0, clamp_norm_factor=20
    )
    editor = RomeEditor(lm, hparams, Resources())
    request = EditRequest(prompt=PAIRS[0][0], target="Oskamar", subject="Portugal")
    before = log_probability(editor, request)
    editor.edit([request])
    assert log_probability(editor, request) > before + 0.1
    editor.reset()
    assert log_probability(editor, request) == before

"""What goes through lm-eval: agreement with direct computations and with its own model class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AddedToken

from bench.checks.contract.tiny import REQUESTS, Subject, tiny_llama
from bench.evaluation.general_ability import asking, lm_eval_harness
from bench.evaluation.general_ability.lm_eval_harness import SteeredModel, quiet
from bench.evaluation.general_ability.scoring import AbilityRow, Numbered
from bench.evaluation.general_ability.sets import Source, chosen, load_sets
from bench.evaluation.inference import unsteered
from bench.models.backbones import load, locate
from bench.world.store import data_dir
from editors import registry
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import prompt_ids, target_ids
from tests.evaluation.general_ability.tiny_items import tiny_sets
from tests.support.fake_editors import DoNothing

SOME = 24  # questions of each embedded set


@pytest.fixture(scope="module")
def mini() -> LanguageModel:
    return load(locate("mini-llama"))


@pytest.fixture(scope="module")
def embedded() -> dict[str, Numbered]:
    sets = load_sets(Source(kind="embedded", directory=data_dir(), name="embedded world 0"))
    return {key: chosen(loaded, SOME) for key, loaded in sets.items()}


@pytest.fixture(scope="module")
def through_lm_eval(mini: LanguageModel, embedded: dict[str, Numbered]) -> list[AbilityRow]:
    return lm_eval_harness.ask(mini, embedded, unsteered, built_in=False)


@torch.no_grad()
def log_likelihood(lm: LanguageModel, prompt: str, continuation: str) -> float:
    """Of a continuation's tokens, one unpadded forward of the joined text."""
    before, joined = (prompt_ids(lm.tokenizer, text) for text in (prompt, prompt + continuation))
    scores = lm.model(torch.tensor([joined])).logits[0].log_softmax(-1)
    return sum(float(scores[i - 1, joined[i]]) for i in range(len(before), len(joined)))


@pytest.mark.parametrize("key", ["csqa", "mmlu", "anli"])
def test_options_agree_with_a_direct_computation(
    key: str, mini: LanguageModel, embedded: dict[str, Numbered], through_lm_eval: list[AbilityRow]
) -> None:
    rows = [row for row in through_lm_eval if row["task"] == key]
    assert [row["index"] for row in rows] == [index for index, _ in embedded[key]]
    for row, (_, item) in zip(rows, embedded[key], strict=True):
        scores = [log_likelihood(mini, item.prompt, option) for option in item.options]
        best = max(range(len(scores)), key=scores.__getitem__)
        assert row["prediction"] == best
        assert row["score"] == float(best == item.answer)
        assert row["group"] == item.group


def test_answers_in_words_agree_with_the_released_codes_scoring(
    mini: LanguageModel, embedded: dict[str, Numbered], through_lm_eval: list[AbilityRow]
) -> None:
    rows = [row for row in through_lm_eval if row["task"] == "squad2"]
    ours = asking.ask(mini, "squad2", embedded["squad2"], unsteered)
    for row, mine in zip(rows, ours, strict=True):
        assert row == mine | {"score": pytest.approx(mine["score"], abs=1e-5)}


def test_likelihoods_and_answers_are_those_of_lm_evals_own_model(mini: LanguageModel) -> None:
    contexts = ["The capital is", "Select.\n(A) x\n(B) y\nAnswer: (", "Where is the big sea? It is"]
    options = [" Brenn", " Port Esk", "A", "B"]
    stops = {"until": ["\n"], "max_gen_toks": 8}
    asked: dict[str, list[Any]] = {
        "loglikelihood": [(c, o) for c in contexts for o in options],
        "generate_until": [(c, stops) for c in contexts],
    }
    with quiet():
        theirs = HFLM(pretrained=mini.model, tokenizer=mini.tokenizer, batch_size=2)
    ours = SteeredModel(mini, unsteered, batch_size=2)
    for kind, arguments in asked.items():
        requests = [Instance(kind, {}, pair, 0) for pair in arguments]
        mine = getattr(ours, kind)(requests, disable_tqdm=True)
        expected = getattr(theirs, kind)(requests, disable_tqdm=True)
        if kind == "generate_until":
            assert mine == expected
            continue
        assert [greedy for _, greedy in mine] == [greedy for _, greedy in expected]
        assert [ll for ll, _ in mine] == pytest.approx([ll for ll, _ in expected], abs=1e-4)


def spanning(token: str) -> LanguageModel:
    """A tiny model with a token for a text that stands at a border."""
    lm = tiny_llama()
    lm.tokenizer.add_tokens([AddedToken(token, normalized=False)])
    lm.model.resize_token_embeddings(len(lm.tokenizer), mean_resizing=False)
    return lm


@pytest.mark.parametrize("token", [": B", "r: B", ": ", ":"])
def test_an_option_has_tokens_of_its_own_where_one_spans_the_border(token: str) -> None:
    lm = spanning(token)
    model = SteeredModel(lm, unsteered)
    for context, option in (("Answer:", " A"), ("Answer:", " B"), ("Answer: ", "B")):
        front, ids = model._encode_pair(context, option)
        assert tuple(ids) == tuple(target_ids(lm.tokenizer, option))
        assert front == prompt_ids(lm.tokenizer, "Answer:")
        ((total, _),) = model.loglikelihood([Instance("loglikelihood", {}, (context, option), 0)])
        assert total < 0


def test_options_that_cannot_be_scored_are_named(mini: LanguageModel) -> None:
    model = SteeredModel(mini, unsteered)
    for option, count in ((" a" * (model.max_length + 1), model.max_length + 1), ("", 0)):
        request = Instance("loglikelihood", {}, ("Where", option), 0)
        with pytest.raises(ValueError, match=f"tokens after 'Where', got {count} of") as error:
            model.loglikelihood([request])
        assert len(str(error.value)) < 200
    whole = model._row("Where", option, [1, 5], [7] * 999)
    assert len(whole.prompt) + len(whole.forced) == model.max_length


def test_text_that_spells_a_special_token_is_text(mini: LanguageModel) -> None:
    model = SteeredModel(mini, unsteered)
    for text in ("<s>The sea is", "The sea</s> is"):
        assert model.tok_encode(text) == prompt_ids(mini.tokenizer, text)
        assert not {1, 2} & {*model.tok_encode(text)[1:]}


def test_editors_get_lengths_and_the_text_to_retrieve_by() -> None:
    editor = DoNothing(tiny_llama())
    model = SteeredModel(editor.lm, editor.steering)
    requests = [Instance("loglikelihood", {}, ("Why?", option), 0) for option in ("A", "B", " sea")]
    model.loglikelihood(requests, disable_tqdm=True)
    (batch,) = editor.batches
    assert batch.texts == ("Why?", "Why? se")  # the two one-token options share a row
    assert batch.prompt_lengths == (5, 5)
    assert batch.lengths == (5, 8)
    editor.batches.clear()
    stops = {"until": ["\n"], "max_gen_toks": 2}
    model.generate_until([Instance("generate_until", {}, ("Why?", stops), 0)])
    assert editor.batches[0].texts == ("Why?",)


def test_sampling_is_refused() -> None:
    model = SteeredModel(tiny_llama(), unsteered)
    sampled = Instance("generate_until", {}, ("Why?", {"do_sample": True, "temperature": 1.0}), 0)
    with pytest.raises(ValueError, match="greedily"):
        model.generate_until([sampled])


@pytest.mark.parametrize("key", registry.available())
def test_no_editors_result_depends_on_the_batch(key: str, artefacts: Path) -> None:
    editor = Subject(key=key, architecture="llama", directory=artefacts).editor()
    editor.edit(list(REQUESTS[:2]))
    sets = tiny_sets(artefacts / "sets")
    for task in ("csqa", "mmlu", "squad2"):
        assert_same(*(
            asking.ask(editor.lm, task, sets[task], editor.steering, batch_size=size)
            for size in (1, 8)
        ))  # fmt: skip
    assert_same(*(
        lm_eval_harness.ask(editor.lm, sets, editor.steering, built_in=False, batch_size=size)
        for size in (1, 8)
    ))  # fmt: skip


def test_builtin_definitions_ask_real_forms_without_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was to be downloaded")

    for name in ("datasets.load_dataset", "evaluate.load"):
        monkeypatch.setattr(name, refuse)
    editor = DoNothing(tiny_llama())
    sets = tiny_sets(tmp_path)
    subjects = ("anatomy", "virology")
    sets["mmlu"] = [(i, replace(item, group=subjects[i % 2])) for i, item in sets["mmlu"]]
    rows = lm_eval_harness.ask(editor.lm, sets, editor.steering, built_in=True)
    assert [(row["task"], row["index"]) for row in rows] == [
        (key, index) for key, part in sets.items() for index, _ in part
    ]
    texts = [text for batch in editor.batches for text in batch.texts]
    assert any("True, False, or Neither?" in text for text in texts)  # lm-eval's ANLI
    assert any("multiple choice questions (with answers) about virology" in t for t in texts)
    assert any(text.startswith("Question: Where") for text in texts)  # its CSQA
    assert any(text.endswith("\nQuestion: What?\nAnswer:") for text in texts)  # our SQuAD-2


def test_an_unknown_subject_has_no_built_in_task(tmp_path: Path) -> None:
    sets = {"mmlu": tiny_sets(tmp_path)["mmlu"]}
    with pytest.raises(ValueError, match="lm-eval has no task 'mmlu_sums'"):
        lm_eval_harness.ask(tiny_llama(), sets, unsteered, built_in=True)


def assert_same(rows: list[AbilityRow], others: list[AbilityRow]) -> None:
    assert len(rows) == len(others) > 0
    for row, other in zip(rows, others, strict=True):
        assert row == other | {"score": pytest.approx(other["score"], abs=1e-5)}

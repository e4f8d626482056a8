"""Every architecture row, on tiny models whose other fields are those of real configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from bench.checks.contract.tiny import (
    CONTEXT,
    HIDDEN,
    INNER,
    LAYERS,
    REQUESTS,
    TINY,
    batch_for,
    byte_tokenizer,
    leftovers,
    weights,
)
from editors.base import Resources
from editors.ft import FtEditor, FtHparams, Lesson
from editors.parts.generation import Stop, greedy
from editors.parts.hooks import captured_input, captured_output
from editors.parts.language_model import ARCHITECTURES, FEW, LanguageModel
from editors.parts.prefix import prefixed
from editors.parts.suffixes import resumed
from editors.parts.tokens import batch_of_ids, subject_last, target_ids
from editors.rome import RomeEditor, RomeHparams
from tests.support.cut_down import CONFIGS, language_model

PAIRS = [(request.prompt, request.target) for request in REQUESTS[:3]]
PAIRS.append(("It is said that the sky above the sea is", "blue"))


def built(name: str) -> LanguageModel:
    if name in TINY:
        return TINY[name]()
    return language_model(name, CONFIGS[name], byte_tokenizer(bos="llama" in name))


@pytest.fixture(params=[*TINY, *CONFIGS])
def lm(request: pytest.FixtureRequest) -> LanguageModel:
    return built(request.param)


def test_every_row_is_tried_on_some_configuration() -> None:
    tried = {config["model_type"] for config in CONFIGS.values()} | set(TINY)
    assert tried == set(ARCHITECTURES)


def test_paths_lead_to_weights_of_the_stated_orientation(lm: LanguageModel) -> None:
    row = lm.architecture
    for layer in range(LAYERS):
        for path in row.mlp_in:
            weight = lm.module(path, layer).get_parameter("weight")
            assert row.as_out_in(weight).shape == (INNER, HIDDEN)
        weight = lm.module(row.mlp_out, layer).get_parameter("weight")
        assert row.as_out_in(weight).shape == (HIDDEN, INNER)
        assert row.mlp_out.startswith(row.mlp)
        for path in filter(None, (row.mlp, row.attention_norm)):
            assert path.startswith(row.block)
            lm.module(path, layer)
    assert lm.module(row.final_norm).get_parameter("weight").shape == (HIDDEN,)
    table = lm.module(row.embeddings).get_parameter("weight")
    assert table.shape == (len(lm.tokenizer), HIDDEN)


@torch.no_grad()
def test_the_orientation_is_that_of_the_product(lm: LanguageModel) -> None:
    module = lm.module(lm.architecture.mlp_out, 1)
    keys = torch.rand(5, INNER, generator=torch.Generator().manual_seed(1))
    expected = keys @ lm.architecture.as_out_in(module.get_parameter("weight")).mT
    bias = dict(module.named_parameters()).get("bias")
    expected = expected if bias is None else expected + bias
    torch.testing.assert_close(module(keys), expected)


@torch.no_grad()
def test_hidden_states_and_head_are_the_models_logits(lm: LanguageModel) -> None:
    batch = batch_for(lm, PAIRS)
    whole = lm.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    stored = batch.attention_mask.bool()
    torch.testing.assert_close(lm.logits(batch)[stored], whole[stored], atol=1e-5, rtol=1e-5)


def test_a_text_beyond_the_table_of_positions_is_one_sentence() -> None:
    long = "a" * (CONTEXT + 1)
    with pytest.raises(ValueError, match=f"A text of {CONTEXT + 1} tokens, .* {CONTEXT} tokens of"):
        TINY["gpt2"]().hidden_states(batch_for(TINY["gpt2"](), [(long, "")]))


def test_a_large_head_answers_few_rows_as_a_matrix_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lm = TINY["llama"]()
    rows = torch.randn(FEW + 1, HIDDEN, generator=torch.Generator().manual_seed(0))
    for count in range(1, FEW + 2):
        plain, few = (rows[:count].clone().requires_grad_() for _ in range(2))
        logits = lm.head(plain)
        logits.sin().sum().backward()
        with monkeypatch.context() as patched:
            patched.setattr("editors.parts.language_model.LARGE", 1)
            own = lm.head(few)
        own.sin().sum().backward()
        assert own.shape == logits.shape
        torch.testing.assert_close(own, logits)
        torch.testing.assert_close(few.grad, plain.grad)


@torch.no_grad()
@pytest.mark.parametrize("layer", [0, LAYERS - 1])
def test_a_resumed_forward_is_a_whole_one_to_the_bit(lm: LanguageModel, layer: int) -> None:
    batch = batch_for(lm, PAIRS)
    names, lowest = list(weights(lm.model)), lm.module(lm.architecture.block, 0)
    with captured_input(lm.module(lm.architecture.block, layer)) as entering:
        whole = lm.logits(batch)
    with resumed(lm, layer, entering.value), captured_output(lowest) as ran:
        assert torch.equal(lm.logits(batch), whole)
    assert (ran._value is None) == (layer > 0)
    assert list(weights(lm.model)) == names
    assert leftovers(lm.model) == []


@torch.no_grad()
def test_a_resumed_forward_has_each_blocks_own_mask() -> None:
    config = CONFIGS["qwen2-7b"] | {
        "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1
    }  # fmt: skip
    lm = language_model("windowed", config, byte_tokenizer(bos=False))
    batch = batch_for(lm, PAIRS)
    with captured_input(lm.module(lm.architecture.block, 1)) as entering:
        whole = lm.logits(batch)
    unwindowed = language_model("whole", CONFIGS["qwen2-7b"], byte_tokenizer(bos=False))
    assert not torch.allclose(unwindowed.logits(batch), whole)
    with resumed(lm, 1, entering.value):
        assert torch.equal(lm.logits(batch), whole)


@torch.no_grad()
def test_a_prompt_in_front_reaches_its_own_row_only(lm: LanguageModel) -> None:
    generator = torch.Generator().manual_seed(3)
    prompts = torch.randn(len(PAIRS), 3, HIDDEN, generator=generator)
    hits = torch.tensor([True, False, True, False])
    batch = batch_for(lm, PAIRS)
    with prefixed(lm, prompts, hits):
        mixed = lm.target_logits(batch)
    alone = []
    for row, pair in enumerate(PAIRS):
        single = batch_for(lm, [pair])
        with prefixed(lm, prompts[row : row + 1], hits[row : row + 1]):
            alone.append(lm.target_logits(single))
    torch.testing.assert_close(mixed, torch.cat(alone), atol=1e-5, rtol=1e-5)
    rows, _ = batch.scored_positions
    plain = lm.target_logits(batch)
    torch.testing.assert_close(mixed[~hits[rows]], plain[~hits[rows]], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(mixed[hits[rows]], plain[hits[rows]], atol=1e-2)


def test_cached_generation_equals_teacher_forcing(lm: LanguageModel) -> None:
    batch = batch_for(lm, [(prompt, "") for prompt, _ in PAIRS])
    answers = greedy(lm, batch, max_new_tokens=4, stop=Stop())
    rows = [batch.input_ids[i, :n].tolist() for i, n in enumerate(batch.prompt_lengths)]
    forced = batch_of_ids(rows, answers, batch.texts, padding=0, device=lm.device)
    with torch.no_grad():
        best = lm.target_logits(forced).argmax(dim=-1)
    assert best.tolist() == [token for ids in answers for token in ids]


def test_fine_tuning_lowers_the_loss_and_is_undone(lm: LanguageModel) -> None:
    before, request = weights(lm.model), REQUESTS[0]
    editor = FtEditor(lm, FtHparams(layer=1, lr=2e-2, num_steps=6), Resources())
    targets = (tuple(target_ids(lm.tokenizer, request.target)),)
    batch = replace(batch_for(lm, [(request.prompt, "")]), target_ids=targets)
    tuned = editor.edit_lessons([Lesson.of(batch, "prompt_last")])
    assert tuned.losses[-1] < tuned.losses[0] - 0.05
    editor.reset()
    assert_untouched(lm, before)


@torch.no_grad()
def test_rome_writes_its_target_value_and_undoes_it(lm: LanguageModel) -> None:
    before, request = weights(lm.model), REQUESTS[0]
    hparams = RomeHparams(layer=1, mode="easyedit", v_num_grad_steps=4)
    editor = RomeEditor(lm, hparams, Resources())
    actual = editor.compute([request])[0].target
    editor.edit([request])
    batch = batch_for(lm, [(request.prompt, "")])
    with captured_output(lm.module(lm.architecture.mlp, 1)) as output:
        lm.hidden_states(batch)
    place = subject_last(lm.tokenizer, request.prompt, request.subject)
    torch.testing.assert_close(output.value[0, place], actual.value, atol=1e-4, rtol=1e-4)
    assert float(actual.delta.norm()) > 0.1
    editor.reset()
    assert_untouched(lm, before)


def assert_untouched(lm: LanguageModel, before: Mapping[str, torch.Tensor]) -> None:
    assert all(torch.equal(value, before[name]) for name, value in weights(lm.model).items())
    assert leftovers(lm.model) == []


def test_an_unknown_family_is_refused_by_name() -> None:
    from transformers import BloomConfig, BloomForCausalLM

    config = BloomConfig(vocab_size=300, hidden_size=HIDDEN, n_layer=1, n_head=2)
    with pytest.raises(ValueError, match=r"No architecture row for model_type 'bloom'.*gpt_neox"):
        LanguageModel(BloomForCausalLM(config), byte_tokenizer(bos=False))

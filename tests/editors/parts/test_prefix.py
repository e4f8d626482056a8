"""Continuous prompts in front of the input, on every architecture."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from bench.checks.contract.tiny import (
    CONTEXT,
    batch_for,
    leftovers,
    tiny_gpt2,
    tiny_gptj,
    tiny_llama,
)
from editors.parts.generation import Stop, greedy
from editors.parts.language_model import LanguageModel
from editors.parts.prefix import prefixed, text_prefixed
from editors.parts.tokens import TokenBatch, batch_of_ids, pad_id, prompt_ids, target_ids

LENGTH = 3
PAIRS = [("The sky is", "blue"), ("A", "letter"), ("Ina works in the old city of", "Brenn")]
HITS = torch.tensor([True, False, True])
NEVER = Stop()


@pytest.fixture
def prompts(tiny_lm: LanguageModel) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(len(PAIRS), LENGTH, tiny_lm.hidden_size, generator=generator)


def test_cached_greedy_decoding_equals_teacher_forcing(
    tiny_lm: LanguageModel, prompts: Tensor
) -> None:
    bare = batch_for(tiny_lm, [(prompt, "") for prompt, _ in PAIRS])
    with prefixed(tiny_lm, prompts, HITS):
        outputs = greedy(tiny_lm, bare, max_new_tokens=5, stop=NEVER)
    for number, output in enumerate(outputs):
        assert output == forced_greedy(tiny_lm, bare, prompts, number, steps=5)
    assert outputs[0] != greedy(tiny_lm, bare, max_new_tokens=5, stop=NEVER)[0]


@torch.no_grad()
def forced_greedy(
    lm: LanguageModel, bare: TokenBatch, prompts: Tensor, row: int, *, steps: int
) -> list[int]:
    """Greedy tokens of one row without a cache and without hooks: the prefix as embeddings."""
    embed = lm.module(lm.architecture.embeddings)
    ids = bare.input_ids[row, : bare.lengths[row]].tolist()
    for _ in range(steps):
        words = embed(torch.tensor([ids]))
        inputs = torch.cat([prompts[row : row + 1], words], dim=1) if HITS[row] else words
        ids.append(int(lm.model(inputs_embeds=inputs).logits[0, -1].argmax()))
    return ids[bare.lengths[row] :]


@pytest.mark.parametrize("masked", [True, False])
def test_hugging_face_generate_equals_our_decoding(
    tiny_lm: LanguageModel, prompts: Tensor, masked: bool
) -> None:
    """With left padding and a mask, and a single row without a mask."""
    rows = range(len(PAIRS)) if masked else range(1)
    bare = batch_for(tiny_lm, [(PAIRS[row][0], "") for row in rows])
    ids = left_padded(tiny_lm, bare) if masked else bare.input_ids
    mask = left_mask(bare)
    with prefixed(tiny_lm, prompts[: len(bare)], HITS[: len(bare)]):
        wanted = greedy(tiny_lm, bare, max_new_tokens=5, stop=NEVER)
        assert generated(tiny_lm, ids, mask if masked else None) == wanted


def generated(lm: LanguageModel, ids: Tensor, mask: Tensor | None) -> list[list[int]]:
    """What the library's own decoding appends."""
    rows = lm.model.generate(  # type: ignore[operator]  # typed as a submodule
        ids,
        attention_mask=mask,
        max_new_tokens=5,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=pad_id(lm.tokenizer),
    )
    new: list[list[int]] = rows[:, ids.shape[1] :].tolist()
    return new


def left_padded(lm: LanguageModel, bare: TokenBatch) -> Tensor:
    ids = torch.full_like(bare.input_ids, pad_id(lm.tokenizer))
    for row, length in enumerate(bare.lengths):
        ids[row, ids.shape[1] - length :] = bare.input_ids[row, :length]
    return ids


def left_mask(bare: TokenBatch) -> Tensor:
    width = bare.input_ids.shape[1]
    return (torch.arange(width) >= width - torch.tensor(bare.lengths)[:, None]).long()


def test_the_gradient_reaches_the_prompts_only(tiny_lm: LanguageModel, prompts: Tensor) -> None:
    prompts = prompts.requires_grad_()
    rows = batch_for(tiny_lm, PAIRS)
    with prefixed(tiny_lm, prompts, HITS):
        tiny_lm.target_logits(rows).logsumexp(-1).sum().backward()
    assert prompts.grad is not None
    assert prompts.grad.isfinite().all()
    assert (prompts.grad.abs().sum(dim=(1, 2)) > 0).tolist() == HITS.tolist()
    assert all(parameter.grad is None for parameter in tiny_lm.model.parameters())


@torch.no_grad()
def test_no_hook_remains_even_after_an_exception(tiny_lm: LanguageModel, prompts: Tensor) -> None:
    rows = batch_for(tiny_lm, PAIRS)
    before = tiny_lm.logits(rows)
    with (
        pytest.raises(ValueError, match="has 1 rows but prompts were retrieved for 3"),
        prefixed(tiny_lm, prompts, HITS, inject="gptj_ln1"),
    ):
        tiny_lm.logits(batch_for(tiny_lm, PAIRS[:1]))
    assert torch.equal(tiny_lm.logits(rows), before)
    assert leftovers(tiny_lm.model) == []


@torch.no_grad()
def test_released_gptj_injection_lets_the_future_leak_into_hit_rows() -> None:
    """What makes that mode unfit for anything but parity, and how we know it is on."""
    lm = tiny_gptj()
    prompts = torch.randn(1, LENGTH, lm.hidden_size, generator=torch.Generator().manual_seed(4))
    first = batch_for(lm, [("abcdefgh", "")])
    changed = batch_for(lm, [("abcdefgX", "")])
    hit = torch.tensor([True])
    for mode, leaks in (("prefix", False), ("gptj_ln1", True)):
        with prefixed(lm, prompts, hit, inject=mode):  # type: ignore[arg-type]
            before, after = (lm.logits(rows)[:, 4] for rows in (first, changed))
        assert torch.allclose(before, after, atol=1e-6) != leaks


@torch.no_grad()
def test_inputs_that_cannot_carry_a_prompt_are_refused(
    tiny_lm: LanguageModel, prompts: Tensor
) -> None:
    rows = batch_for(tiny_lm, PAIRS)
    with prefixed(tiny_lm, prompts, HITS):
        with pytest.raises(ValueError, match="4 dimensions; use a cache that grows"):
            tiny_lm.base(input_ids=rows.input_ids, attention_mask=torch.ones(3, 1, 4, 4))
        with pytest.raises(ValueError, match="keyword arguments"):
            tiny_lm.base(rows.input_ids, DynamicCache(config=tiny_lm.model.config))


@torch.no_grad()
def test_an_input_that_outgrows_learned_positions_is_refused() -> None:
    lm = tiny_gpt2()
    ids = torch.zeros(1, CONTEXT, dtype=torch.long)
    prompts = torch.zeros(1, LENGTH, lm.hidden_size)
    with (
        pytest.raises(ValueError, match=f"longer than the model's {CONTEXT}"),
        prefixed(lm, prompts, torch.tensor([True])),
    ):
        lm.base(input_ids=ids)


# ---- text in front --------------------------------------------------------------------------

TEXTS = ("[Note] Blue seas.", "", "It snows in the far north today.")


def prefix_rows(lm: LanguageModel) -> list[list[int]]:
    return [prompt_ids(lm.tokenizer, text) if text else [] for text in TEXTS]


def joined(lm: LanguageModel) -> TokenBatch:
    """The rows of PAIRS after their texts, as ids; one BOS at most."""
    leading = len(prompt_ids(lm.tokenizer, ""))
    prompts = [prompt_ids(lm.tokenizer, prompt) for prompt, _ in PAIRS]
    rows = [
        [*prefix, *prompt[leading:]] if prefix else prompt
        for prefix, prompt in zip(prefix_rows(lm), prompts, strict=True)
    ]
    targets = [target_ids(lm.tokenizer, target) for _, target in PAIRS]
    return batch_of_ids(rows, targets, TEXTS, padding=pad_id(lm.tokenizer), device=lm.device)


@torch.no_grad()
def test_text_in_front_is_read_as_joined_ids_in_mixed_batches(tiny_lm: LanguageModel) -> None:
    rows, prefixes = batch_for(tiny_lm, PAIRS), prefix_rows(tiny_lm)
    with text_prefixed(tiny_lm, prefixes):
        ours = tiny_lm.target_logits(rows)
    torch.testing.assert_close(ours, tiny_lm.target_logits(joined(tiny_lm)), atol=1e-5, rtol=0)
    counts = [len(target) for target in rows.target_ids]
    for number, part in enumerate(ours.split(counts)):
        single = batch_for(tiny_lm, PAIRS[number : number + 1])
        with text_prefixed(tiny_lm, prefixes[number : number + 1]):
            torch.testing.assert_close(part, tiny_lm.target_logits(single), atol=1e-5, rtol=0)


def test_cached_decoding_after_text_equals_that_of_joined_ids(tiny_lm: LanguageModel) -> None:
    bare = batch_for(tiny_lm, [(prompt, "") for prompt, _ in PAIRS])
    rows = joined(tiny_lm)
    prompts = [
        rows.input_ids[row, :length].tolist() for row, length in enumerate(rows.prompt_lengths)
    ]
    empty: list[list[int]] = [[] for _ in prompts]
    whole = batch_of_ids(prompts, empty, TEXTS, padding=0, device=tiny_lm.device)
    with text_prefixed(tiny_lm, prefix_rows(tiny_lm)):
        ours = greedy(tiny_lm, bare, max_new_tokens=5, stop=NEVER)
        theirs = generated(tiny_lm, left_padded(tiny_lm, bare), left_mask(bare))
    assert ours == greedy(tiny_lm, whole, max_new_tokens=5, stop=NEVER)
    assert ours != greedy(tiny_lm, bare, max_new_tokens=5, stop=NEVER)
    assert theirs == ours


@torch.no_grad()
def test_an_empty_question_is_answered_by_the_texts_last_token() -> None:
    lm = tiny_llama()
    prefix = prompt_ids(lm.tokenizer, "It snows")
    empty, text = batch_for(lm, [("", "")]), batch_for(lm, [("It snows", "")])
    with text_prefixed(lm, [prefix]):
        ours = lm.logits(empty)[:, -1]
    torch.testing.assert_close(ours, lm.logits(text)[:, -1], atol=1e-5, rtol=0)


@torch.no_grad()
def test_padding_after_a_short_row_may_lie_beyond_the_positions() -> None:
    """A long text with a short question, beside a long question without a text."""
    lm = tiny_gpt2()
    rows = batch_for(lm, [("A", "b"), ("x" * (CONTEXT - 10), "y")])
    prefixes = [prompt_ids(lm.tokenizer, "z" * 100), []]
    with text_prefixed(lm, prefixes):
        ours = lm.target_logits(rows)
    whole = batch_for(lm, [("z" * 100 + "A", "b")])
    counts = [len(target) for target in rows.target_ids]
    torch.testing.assert_close(ours.split(counts)[0], lm.target_logits(whole), atol=1e-5, rtol=0)
    with (
        pytest.raises(ValueError, match=f"longer than the model's {CONTEXT}"),
        text_prefixed(lm, prefixes[::-1]),
    ):
        lm.target_logits(rows)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from editors.parts.subjects import subject_in_prompt, subject_last
from tests.support.tiny import byte_tokenizer

GPT, LLAMA = byte_tokenizer(bos=False), byte_tokenizer(bos=True)


def text_up_to(tokenizer: PreTrainedTokenizerFast, text: str, index: int) -> str:
    """Text of the tokens up to and with `index`."""
    ids = tokenizer(text)["input_ids"][: index + 1]
    return str(tokenizer.decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("tokenizer", [GPT, LLAMA], ids=["gpt", "llama"])
@pytest.mark.parametrize("template", ["{}", "Ada said. {}"])
def test_the_last_token_of_the_subject(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    prompt = "The dog of Ada Lin likes"
    index = subject_last(tokenizer, prompt, "Ada Lin", template=template)
    found = text_up_to(tokenizer, template.format(prompt), index)
    assert found == template.format("The dog of Ada Lin")


def test_bos_shifts_the_index() -> None:
    assert subject_last(GPT, "Ada is", "Ada") == 2
    assert subject_last(LLAMA, "Ada is", "Ada") == 3


def test_the_first_of_two_occurrences_counts() -> None:
    index = subject_last(GPT, "Ada met Ada", "Ada")
    assert text_up_to(GPT, "Ada met Ada", index) == "Ada"


def test_a_token_that_swallows_what_follows_is_the_last_one() -> None:
    assert text_up_to(GPT, "Bern is", subject_last(GPT, "Bern is", "Be")) == "Ber"


@pytest.mark.parametrize("template", ["{}", "So. {}"])
@pytest.mark.parametrize("subject", ["Bob", "ada", ""])
def test_a_subject_that_is_not_there_is_looked_up_at_the_end(subject: str, template: str) -> None:
    prompt = "Ada is "
    length = len(LLAMA(template.format(prompt))["input_ids"])
    assert subject_last(LLAMA, prompt, subject, template=template) == length - 1
    assert not subject_in_prompt(prompt, subject)


def test_braces_in_a_prompt_are_text() -> None:
    index = subject_last(GPT, "{} or {x} Ada", "Ada", template="So. {}")
    assert index == len(GPT("So. {} or {x} Ada")["input_ids"]) - 1


@given(
    before=st.text(max_size=8), subject=st.text(min_size=1, max_size=5), after=st.text(max_size=8)
)
def test_any_unicode_ends_inside_the_subject(before: str, subject: str, after: str) -> None:
    prompt = before + subject + after
    start = prompt.index(subject)
    offsets = LLAMA(prompt, return_offsets_mapping=True)["offset_mapping"]
    first, last = offsets[subject_last(LLAMA, prompt, subject)]
    if first != last:  # a special token's own text in the prompt has an empty span
        assert first < start + len(subject)
        assert last >= start + len(subject) or not subject[last - start :].strip()


def test_a_slow_tokenizer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = byte_tokenizer(bos=False)
    monkeypatch.setattr(type(slow), "is_fast", False)
    with pytest.raises(ValueError, match=r"needs a fast tokenizer .* got \w+"):
        subject_last(slow, "Ada is", "Ada")

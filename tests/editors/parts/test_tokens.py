"""Where a target joins its prompt, whatever a tokenizer does about spaces."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bench.checks.contract.tiny import byte_tokenizer
from editors.parts.tokens import SENTENCEPIECE_SPACE as SPACE
from editors.parts.tokens import (
    joint,
    pack_texts,
    prompt_ids,
    subject_in_prompt,
    subject_last,
    target_ids,
    unpack_texts,
)


def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """One that puts a space in front of every text, also of one that has a space (LLaMA-2's)."""
    pieces = ["<unk>", SPACE, *"IinaLsbo", f"{SPACE}L", f"{SPACE}i"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=[(SPACE, "L"), (SPACE, "i")],
            unk_token="<unk>",
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)]
    )
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


TOKENIZERS = pytest.mark.parametrize(
    "tokenizer",
    [byte_tokenizer(bos=False), byte_tokenizer(bos=True), sentencepiece_tokenizer()],
    ids=["gpt", "llama", "sentencepiece"],
)


@TOKENIZERS
@pytest.mark.parametrize("target", ["Lisbon", " Lisbon", "  Lisbon in"])
def test_prompt_and_target_join_at_one_space(
    tokenizer: PreTrainedTokenizerBase, target: str
) -> None:
    joined = prompt_ids(tokenizer, "Ina is") + target_ids(tokenizer, target)
    assert joined == prompt_ids(tokenizer, f"Ina is {target.lstrip()}")


@TOKENIZERS
def test_a_text_ends_so_that_another_reads_on_after_one_space(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    front = prompt_ids(tokenizer, "Ina is" + joint(tokenizer))
    following = prompt_ids(tokenizer, "Lisbon")[len(prompt_ids(tokenizer, "")) :]
    text = str(tokenizer.decode(front + following, skip_special_tokens=True))
    assert text.strip() == "Ina is Lisbon"


def test_a_tokenizer_that_doubles_the_space_is_what_is_tested() -> None:
    tokenizer = sentencepiece_tokenizer()
    assert tokenizer("Lisbon")["input_ids"] != tokenizer(" Lisbon")["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(target_ids(tokenizer, "Lisbon"))
    assert pieces == [f"{SPACE}L", *"isbon"]


@pytest.mark.parametrize("texts", [[], [""], ["a", "", "Żółć {}"], ["two\nlines", "\ufffd"]])
def test_texts_go_through_a_file(texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_file(pack_texts(texts, "facts"), path)
    assert unpack_texts(load_file(path), "facts") == texts


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
    actual = text_up_to(tokenizer, template.format(prompt), index)
    assert actual == template.format("The dog of Ada Lin")


@pytest.mark.parametrize(
    ("prompt", "subject", "text"),
    [
        ("Ada met Ada", "Ada", "Ada"),  # the first of two
        ("Bern is", "Be", "Ber"),  # a token that holds what follows too
    ],
)
def test_the_last_token_is_the_first_that_ends_the_subject(
    prompt: str, subject: str, text: str
) -> None:
    assert text_up_to(GPT, prompt, subject_last(GPT, prompt, subject)) == text


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

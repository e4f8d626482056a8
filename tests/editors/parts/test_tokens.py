"""Where a target joins its prompt, whatever a tokenizer does about spaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import (
    GenerationConfig,
    LlamaConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from bench.checks.contract.tiny import byte_tokenizer
from editors.parts.language_model import LanguageModel
from editors.parts.texts import as_spelt, is_inside_a_word, subject_span
from editors.parts.tokens import SENTENCEPIECE_SPACE as SPACE
from editors.parts.tokens import (
    SpecialTokens,
    batch_of,
    context_ids,
    continuation,
    in_groups,
    joint,
    pack_texts,
    prompt_ids,
    sharing,
    subject_last,
    target_ids,
    text_ids,
    text_of,
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
    front = context_ids(tokenizer, "Ina is" + joint(tokenizer))
    following = prompt_ids(tokenizer, "Lisbon")[len(prompt_ids(tokenizer, "")) :]
    text = str(tokenizer.decode(front + following, skip_special_tokens=True))
    assert text.strip() == "Ina is Lisbon"


def test_a_tokenizer_that_doubles_the_space_is_what_is_tested() -> None:
    tokenizer = sentencepiece_tokenizer()
    assert tokenizer("Lisbon")["input_ids"] != tokenizer(" Lisbon")["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(target_ids(tokenizer, "Lisbon"))
    assert pieces == [f"{SPACE}L", *"isbon"]


CHINESE = ("\u9996\u90fd\u662f", "\u5317\u4eac")


@TOKENIZERS
def test_scripts_without_spaces_join_without_one(tokenizer: PreTrainedTokenizerBase) -> None:
    prompt, target = CHINESE
    ids = target_ids(tokenizer, target, prompt)
    assert ids == target_ids(tokenizer, target)
    assert prompt_ids(tokenizer, prompt) + ids == prompt_ids(tokenizer, prompt + target)
    assert len(target_ids(tokenizer, target, "The capital is")) == len(ids) + 1  # the space
    assert target_ids(tokenizer, "Lisbon", prompt) == target_ids(tokenizer, "Lisbon")
    batch = batch_of(
        tokenizer, [CHINESE], device=torch.device("cpu"), retrieval_text="teacher_forced"
    )
    assert batch.target_ids == (tuple(ids),)
    assert " " not in batch.texts[0].rstrip()  # nothing is known of unknown tokens


@TOKENIZERS
def test_white_space_at_the_end_of_a_prompt_changes_nothing(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    for end in (" ", "  ", "\n", "\t ", "\u3000"):
        assert prompt_ids(tokenizer, f"Ina is{end}") == prompt_ids(tokenizer, "Ina is")
    pairs, device = [("Ina is ", "Lisbon")], torch.device("cpu")
    assert batch_of(tokenizer, pairs, device=device).texts == ("Ina is",)
    exact = batch_of(tokenizer, pairs, device=device, verbatim=True)
    assert exact.texts == ("Ina is ",)
    assert exact.prompt_lengths == (len(context_ids(tokenizer, "Ina is ")),)


@pytest.mark.parametrize("bos", [False, True])
@pytest.mark.parametrize("mark", ["<s>", "</s>", "<pad>"])
def test_special_tokens_that_are_spelt_in_text_are_text(bos: bool, mark: str) -> None:
    tokenizer = byte_tokenizer(bos=bos)
    assert tokenizer(mark, add_special_tokens=False)["input_ids"] in ([0], [1], [2])
    front = [1] if bos else []
    text = f"{mark}Ina is {mark}"
    assert prompt_ids(tokenizer, text) == [*front, *text_ids(tokenizer, text)]
    assert not {0, 1, 2} & {*text_ids(tokenizer, text), *target_ids(tokenizer, text)}
    assert tokenizer.decode(text_ids(tokenizer, text)) == text
    prompt = f"{mark} Ada is"
    assert text_up_to(tokenizer, prompt, subject_last(tokenizer, prompt, "Ada")) == f"{mark} Ada"


def test_what_stands_in_front_and_what_ends_an_answer() -> None:
    config = LlamaConfig(bos_token_id=1, eos_token_id=[2, 5])
    plain = SpecialTokens.of(byte_tokenizer(bos=False), config)
    facts = {"front": [], "bos": 1, "lacks_bos": True, "ends": [1, 2, 5]}
    assert plain.facts() == facts
    assert plain.lacks_bos
    assert SpecialTokens.of(byte_tokenizer(bos=True), config).front == (1,)
    assert not SpecialTokens.of(byte_tokenizer(bos=True), config).lacks_bos
    other = PreTrainedTokenizerFast(
        tokenizer_object=byte_tokenizer(bos=False).backend_tokenizer, eos_token="</s>"
    )
    assert not SpecialTokens.of(other, LlamaConfig(bos_token_id=2, eos_token_id=2)).lacks_bos
    assert not SpecialTokens.of(other, LlamaConfig(bos_token_id=None)).lacks_bos
    generation = GenerationConfig(eos_token_id=[2, 9])
    assert SpecialTokens.of(other, config, generation).ends == {2, 5, 9}
    for wrong in (["2"], [2, None], "2", [True], [2.0]):
        generation.eos_token_id = wrong
        with pytest.raises(ValueError, match=r"eos_token_id and .*expected a whole number"):
            SpecialTokens.of(other, config, generation)


def test_decoded_answers_have_the_spaces_that_their_tokens_have() -> None:
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "do": 1, "n't": 2, "stop": 3, ".": 4}))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=True)
    assert tokenizer.decode([1, 2, 3, 4]) == "don't stop."
    assert text_of(tokenizer, [1, 2, 3, 4]) == "do n't stop ."
    assert continuation(tokenizer, [1, 2, 3, 4]) == " do n't stop ."


@pytest.mark.parametrize("template", ["$A </s>", "<s> $A </s>", "$A <pad> </s>"])
def test_a_tokenizer_that_ends_texts_is_refused(template: str, lm: LanguageModel) -> None:
    tokenizer = byte_tokenizer(bos=False)
    names = [("<pad>", 0), ("<s>", 1), ("</s>", 2)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=names
    )
    with pytest.raises(ValueError, match=r"ends every text with .*'</s>'"):
        LanguageModel(lm.model, tokenizer)


@pytest.mark.parametrize("texts", [[], [""], ["a", "", "Żółć {}"], ["two\nlines", "\ufffd"]])
def test_texts_go_through_a_file(texts: list[str], tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_file(pack_texts(texts, "facts"), path)
    assert unpack_texts(load_file(path), "facts") == texts


GPT, LLAMA = byte_tokenizer(bos=False), byte_tokenizer(bos=True)


def text_up_to(tokenizer: PreTrainedTokenizerFast, text: str, index: int) -> str:
    """Text of the tokens up to and with `index`."""
    ids = prompt_ids(tokenizer, text)[: index + 1]
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
    prompt = "Eva is "
    length = len(prompt_ids(LLAMA, template.format(prompt)))
    assert subject_last(LLAMA, prompt, subject, template=template) == length - 1
    assert subject_span(prompt, subject) is None


@pytest.mark.parametrize(
    ("prompt", "subject", "found"),
    [
        ("In Varn live", " Varn ", "Varn"),
        ("In New  Varn live", "New Varn", "New  Varn"),
        ("In Re\u0301my live", "R\u00e9my", "Re\u0301my"),
        ("In R\u00e9my live", "Re\u0301my", "R\u00e9my"),
        ("In Canada lives Ada", "Ada", "Ada"),
        ("In Canada lives Ada", "ada", "Ada"),
        ("In Canada", "Cana", "Cana"),  # a part of a word, where there is no whole one
        ("varn and Varn", "Varn", "Varn"),
        ("\u6771\u4eac\u306e\u5e02\u9577\u306f", "\u6771\u4eac", "\u6771\u4eac"),
        ("C++ was made by", "C++", "C++"),
        ("In O\u2019Brien live", "O'Brien", "O\u2019Brien"),
        ("In Jean\u2013Paul live", "jean-paul", "Jean\u2013Paul"),
        ("In \uff21\uff22\uff23 live", "ABC", "\uff21\uff22\uff23"),
        ("In Va\u00adrn live", "Varn", "Va\u00adrn"),
        ("Wo ist STRASSE?", "Stra\u00dfe", "STRASSE"),
        ("In \u0130zmir live", "izmir", "\u0130zmir"),
        ("In Cafe\u0301 or Cafe live", "Cafe", "Cafe"),  # not in the first, which has an accent
        ("The NBA\u7403\u54e1", "NBA", "NBA"),
    ],
)
def test_a_subject_is_the_same_however_it_is_spelt(prompt: str, subject: str, found: str) -> None:
    begin, end = subject_span(prompt, subject) or (0, 0)
    assert prompt[begin:end] == found == as_spelt(subject, prompt)
    assert begin == prompt.rindex(found)
    if prompt.startswith("In "):
        index = subject_last(GPT, prompt, subject)
        assert text_up_to(GPT, prompt, index).endswith(found)


class BrokenOffsets:
    """A tokenizer whose tokens have no characters."""

    is_fast = True

    def __call__(self, text: str, **options: object) -> dict[str, list[object]]:
        encoded = dict(GPT(text, **options))
        return encoded | {"offset_mapping": [(a, a) for a, _ in encoded["offset_mapping"]]}


@pytest.mark.parametrize(
    ("subject", "start"),
    [("Aug", 4), ("aug", 4), ("gust", 6), ("GUST", None), ("US", None), ("Augustus Rex", None)],
)
def test_a_subject_inside_a_word_is_known_as_such(subject: str, start: int | None) -> None:
    prompt = "Was Augustus wise"
    span = subject_span(prompt, subject)
    assert span == (None if start is None else (start, start + len(subject)))
    assert span is None or is_inside_a_word(prompt, span)
    assert not is_inside_a_word(prompt, (4, 12))


def test_offsets_without_the_subject_are_refused() -> None:
    broken: Any = BrokenOffsets()
    with pytest.raises(ValueError, match="no character offsets for the subject 'Ada'"):
        subject_last(broken, "Ada is", "Ada")
    assert subject_last(broken, "Ada is", "Bob") == len(GPT("Ada is")["input_ids"]) - 1


def test_braces_in_a_prompt_are_text() -> None:
    index = subject_last(GPT, "{} or {x} Ada", "Ada", template="So. {}")
    assert index == len(GPT("So. {} or {x} Ada")["input_ids"]) - 1


@given(
    before=st.text(max_size=8), subject=st.text(min_size=1, max_size=5), after=st.text(max_size=8)
)
def test_any_unicode_ends_inside_the_subject(before: str, subject: str, after: str) -> None:
    prompt = before + subject + after
    span = subject_span(prompt, subject)
    assert (span is None) == (not subject.strip())
    if span is None:
        return
    encoded = LLAMA(prompt.rstrip(), return_offsets_mapping=True, split_special_tokens=True)
    first, last = encoded["offset_mapping"][subject_last(LLAMA, prompt, subject)]
    assert first < span[1] <= last


def test_a_slow_tokenizer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = byte_tokenizer(bos=False)
    monkeypatch.setattr(type(slow), "is_fast", False)
    with pytest.raises(ValueError, match=r"needs a fast tokenizer .* got \w+"):
        subject_last(slow, "Ada is", "Ada")


def test_rows_of_like_widths_share_a_batch_and_come_back_in_order() -> None:
    widths, groups = [40, 5, 6, 5, 41], []

    def squares(group: list[int]) -> torch.Tensor:
        groups.append(group)
        return torch.tensor([float(widths[row]) ** 2 for row in group for _ in range(row)])

    assert sharing([5, 5, 6, 40, 41], 32) == 3
    assert sharing([5, 5, 6, 40, 41], 104) == 4  # 3 x 40 - (5 + 5 + 6)
    assert sharing([], 32) == 0
    lines = in_groups(widths, squares, [0, 1, 2, 3, 4])
    assert groups == [[1, 3, 2], [0, 4]]
    assert lines.tolist() == [25.0, 36.0, 36.0, *[25.0] * 3, *[1681.0] * 4]

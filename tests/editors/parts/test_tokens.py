"""Where a target joins its prompt, whatever a tokenizer does about spaces."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from editors.parts.tokens import SENTENCEPIECE_SPACE as SPACE
from editors.parts.tokens import joint, prompt_ids, target_ids
from tests.support.tiny import byte_tokenizer


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
def test_a_text_ends_so_that_another_reads_on_behind_one_space(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    front = prompt_ids(tokenizer, "Ina is" + joint(tokenizer))
    behind = prompt_ids(tokenizer, "Lisbon")[len(prompt_ids(tokenizer, "")) :]
    text = str(tokenizer.decode(front + behind, skip_special_tokens=True))
    assert text.strip() == "Ina is Lisbon"


def test_a_tokenizer_that_doubles_the_space_is_what_is_tested() -> None:
    tokenizer = sentencepiece_tokenizer()
    assert tokenizer("Lisbon")["input_ids"] != tokenizer(" Lisbon")["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(target_ids(tokenizer, "Lisbon"))
    assert pieces == [f"{SPACE}L", *"isbon"]

from __future__ import annotations

import torch

from editors.parts.language_model import LanguageModel
from editors.parts.templates import generate_templates
from editors.parts.tokens import prompt_ids
from tests.support.tiny import tiny_gpt2


def test_templates_are_the_bare_one_and_a_prefix_for_each_length(tiny_lm: LanguageModel) -> None:
    before = torch.get_rng_state()
    templates = generate_templates(tiny_lm, (6, 6, 9))
    assert torch.equal(torch.get_rng_state(), before)
    assert templates[0] == "{}"
    assert len(templates) == 4
    for template in templates[1:]:
        assert template.endswith(". {}")
        assert template.count("{") == template.count("}") == 1
        assert template.format("prompt").endswith(". prompt")
    assert generate_templates(tiny_lm, (6, 6, 9)) == templates
    assert generate_templates(tiny_lm, (6, 6, 9), seed=1) != templates


def test_prefixes_start_with_the_usual_words_in_turn() -> None:
    templates = generate_templates(tiny_gpt2(), (4,) * 6)[1:]
    starts = ("The", "Therefore"[:4], "Because"[:4], "I", "You", "The")
    assert [t.startswith(s) for t, s in zip(templates, starts, strict=True)] == [True] * 6


def test_a_length_counts_every_token_of_the_prefix() -> None:
    lm = tiny_gpt2()
    (template,) = generate_templates(lm, (3,))[1:]  # "The" is three bytes here: nothing is added
    assert prompt_ids(lm.tokenizer, "The") == prompt_ids(lm.tokenizer, template[:3])
    assert template == "The. {}"

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from bench.checks.contract.tiny import CONTEXT, INNER, leftovers, tiny_llama
from editors.parts.covariance import second_moments
from editors.parts.hooks import captured_input
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import prompt_ids

TEXTS = ("A short one.", "A text that is somewhat longer.", "", "Another.") * 3


@torch.no_grad()
def test_it_is_the_mean_outer_product_over_all_real_tokens(tiny_lm: LanguageModel) -> None:
    moments = second_moments(tiny_lm, iter(TEXTS), (2, 0), max_length=12)
    for layer in (0, 2):
        module = tiny_lm.module(tiny_lm.architecture.mlp_out, layer)
        total, count = torch.zeros(INNER, INNER, dtype=torch.float64), 0
        for text in TEXTS:
            ids = prompt_ids(tiny_lm.tokenizer, text)[:12]
            if not ids:
                continue
            with captured_input(module) as keys:
                tiny_lm.base(input_ids=torch.tensor([ids]))
            rows = keys.value[0].double()
            total += rows.T @ rows
            count += len(ids)
        assert moments[layer].tokens == count
        torch.testing.assert_close(moments[layer].matrix, total / count, atol=1e-7, rtol=1e-5)
    assert leftovers(tiny_lm.model) == []


def test_it_stops_at_the_wanted_tokens_and_reads_no_further() -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "The same text again."

    moments = second_moments(tiny_llama(), endless(), (0,), max_length=CONTEXT, max_tokens=100)
    assert 100 <= moments[0].tokens < 100 + 3 * CONTEXT


def test_no_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="needs a corpus"):
        second_moments(tiny_llama(), [], (0,), max_length=8)

"""Context templates: random prefixes that a model writes itself, put before a prompt.

ROME averages keys and optimises values over them, so that an edit does not hang on the bare prompt.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import torch
from torch import Tensor

from editors.parts.language_model import LanguageModel
from editors.parts.tokens import prompt_ids

BARE = "{}"
# Words that start a generation, and the sampling cut, of the MEMIT and EasyEdit implementations.
STARTERS = ("The", "Therefore", "Because", "I", "You")
TOP_K = 5
# Ours: fixed, because templates are part of a backbone's statistics and no seed varies them.
TEMPLATE_SEED = 0


def generate_templates(
    lm: LanguageModel, lengths: Sequence[int], *, seed: int = TEMPLATE_SEED
) -> tuple[str, ...]:
    """The bare template and one prefixed template `"<prefix>. {}"` for each of `lengths`.

    A length counts all tokens of a prefix, its starter and BOS too, as in the original
    implementations. The model must be the pristine one. Only a local generator is drawn from.
    """
    generator = torch.Generator().manual_seed(seed)
    prefixes = [
        _prefix(lm, STARTERS[i % len(STARTERS)], length, generator)
        for i, length in enumerate(lengths)
    ]
    return (BARE, *(f"{prefix}. {BARE}" for prefix in prefixes))


@torch.no_grad()
def _prefix(lm: LanguageModel, starter: str, length: int, generator: torch.Generator) -> str:
    ids = prompt_ids(lm.tokenizer, starter)
    while len(ids) < length:
        tokens = torch.tensor([ids], device=lm.device)
        hidden = lm.base(input_ids=tokens, use_cache=False).last_hidden_state
        ids.append(_sample(lm.head(hidden[0, -1]), generator))
    return _clean(str(lm.tokenizer.decode(ids, skip_special_tokens=True)))


def _sample(logits: Tensor, generator: torch.Generator) -> int:
    best = torch.topk(logits.float().cpu(), min(TOP_K, logits.shape[-1]))
    choice = torch.multinomial(torch.softmax(best.values, dim=-1), 1, generator=generator)
    return int(best.indices[choice])


def _clean(text: str) -> str:
    """One line without braces, which would be read as places for the prompt."""
    plain = unicodedata.normalize("NFKD", text).replace("{", " ").replace("}", " ")
    return " ".join(plain.split())

"""A new world's backbone starts from the shipped one of the same architecture.

Whether a model of four layers finds out how to pick an option by its letter, or to weigh a
statement against another, is a lottery at this budget: of two seeds trained from noise one did.
Circuits that read a context are no world's knowledge, so the backbone of another seed takes them
over and learns its own names and facts (ours). What it inherits of the shipped world's facts is
about people whom nobody asks for.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from editors.parts.language_model import LanguageModel


@torch.no_grad()
def inherit(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, parent: LanguageModel
) -> int:
    """Copy the parent's weights into `model`; returns how many tokens the two have in common.

    Rows of embeddings and head go by the token's text. Those of tokens that the parent lacks are
    drawn from a normal distribution with the mean and deviation of the parent's rows, from
    PyTorch's global generator.
    """
    before, now = parent.tokenizer.get_vocab(), tokenizer.get_vocab()
    theirs, ours = zip(*((before[t], i) for t, i in now.items() if t in before), strict=True)
    tables = {
        id(table.weight)
        for table in (parent.model.get_input_embeddings(), parent.model.get_output_embeddings())
    }
    named = dict(parent.model.named_parameters(remove_duplicate=False))
    weights = model.state_dict()
    for name, value in parent.model.state_dict().items():
        if name in named and id(named[name]) in tables:
            weights[name] = torch.randn_like(weights[name]) * value.std(0) + value.mean(0)
            weights[name][list(ours)] = value[list(theirs)]
        else:
            weights[name] = value
    model.load_state_dict(weights)
    return len(ours)

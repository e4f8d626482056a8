"""`model.generate` of transformers, answered as edited by editors that act at inference."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from editors.base import Editor
from editors.parts.tokens import batch_of, text_of

# Ways of generating in which a row is more than one sequence, or another model reads along.
_SINGLE = {"num_beams": 1, "num_return_sequences": 1, "assistant_model": None}


@contextmanager
def steered_generate(editor: Editor[Any]) -> Iterator[None]:
    """Within it `model.generate(input_ids, ..)` is steered, each row by its own text."""
    model: Any = editor.lm.model
    before = vars(model).get("generate")
    plain: Callable[..., Any] = partial(type(model).generate, model)

    def generate(inputs: Tensor | None = None, **options: Any) -> Tensor:
        ids = options.pop("input_ids", inputs)
        mask = options.pop("attention_mask", None)
        if not isinstance(ids, Tensor):
            raise ValueError("A steered model.generate wants input_ids, a tensor of token ids.")
        for name, only in _SINGLE.items():
            if options.get(name, only) not in (only, None):
                raise ValueError(f"A steered model.generate takes {name}={only} alone.")
        if options.get("return_dict_in_generate"):
            raise ValueError("A steered model.generate returns token ids alone.")
        mask = torch.ones_like(ids) if mask is None else mask
        rows = [
            _row(editor, plain, row[own.bool()], options)
            for row, own in zip(ids, mask, strict=True)
        ]
        return _joined(ids, rows, _padding(editor))

    vars(model)["generate"] = generate
    try:
        yield
    finally:
        _put(model, before)


def warn_outside(editor: Editor[Any], *, edited: bool) -> None:
    """Let `model.generate` warn once that edits do not show in it; without edits it is plain."""
    model: Any = editor.lm.model
    if edited == ("generate" in vars(model)):
        return
    plain: Callable[..., Any] = partial(type(model).generate, model)

    def generate(*args: Any, **options: Any) -> Any:
        _put(model, None)
        warnings.warn(
            f"{editor.label} acts at inference: its edits show in the session's generate, or in "
            "the model's own within `with session:`.",
            stacklevel=2,
        )
        return plain(*args, **options)

    _put(model, generate if edited else None)


def _put(model: Any, generate: Callable[..., Any] | None) -> None:
    if generate is None:
        vars(model).pop("generate", None)
    else:
        vars(model)["generate"] = generate


def _row(
    editor: Editor[Any], plain: Callable[..., Any], ids: Tensor, options: dict[str, Any]
) -> Tensor:
    """The new ids after one row without padding."""
    tokenizer = editor.lm.tokenizer
    text = text_of(tokenizer, ids.tolist())
    batch = batch_of(tokenizer, [(text, "")], device=ids.device)
    with editor.steering(batch):
        whole: Tensor = plain(ids[None], attention_mask=torch.ones_like(ids[None]), **options)[0]
    return whole[len(ids) :]


def _joined(ids: Tensor, rows: list[Tensor], padding: int) -> Tensor:
    """The given ids with the new ones, which are padded on the right."""
    width = max(map(len, rows))
    new = ids.new_full((len(rows), width), padding)
    for place, row in zip(new, rows, strict=True):
        place[: len(row)] = row
    return torch.cat([ids, new], dim=1)


def _padding(editor: Editor[Any]) -> int:
    tokenizer = editor.lm.tokenizer
    for own in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if own is not None:
            return int(own)
    return 0

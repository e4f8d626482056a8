"""Clauses about editors that look something up for a text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.checks.contract.clause import FIRST, PAIRS, SECOND, clause, near, wanted
from bench.checks.contract.subjects import Subject, logits
from editors.base import Editor
from editors.parts.tokens import TokenBatch, batch_of


@clause
def lookups_are_told(subject: Subject) -> None:
    """Answers heed a text to look up only where retrieves_text is set, and what it retrieves."""
    editor = subject.editor()
    editor.edit([FIRST])
    editor.edit([SECOND])
    batch = batch_of(editor.lm.tokenizer, PAIRS, device=editor.lm.device)
    other = replace(batch, texts=batch.texts[::-1])
    one, two = (_steered(editor, each) for each in (batch, other))
    if not editor.retrieves_text:
        alike = torch.equal(torch.cat(one), torch.cat(two))
        wanted(alike, "retrieves_text is not set, and another text to look up changes answers")
        return
    found = [editor.retrieved(each.texts) for each in (batch, other)]
    if found[0] is None or found[1] is None:
        return
    for row, numbers in enumerate(zip(*found, strict=True)):
        if numbers[0] == numbers[1]:
            near(one[row], two[row], "logits of one row with equal retrievals")


@clause
def explanations_hold(subject: Subject) -> None:
    """What an editor explains to be used is what steers the answer."""
    editor = subject.editor()
    prompts = [prompt for prompt, _ in PAIRS]
    if editor.explain(prompts) is None:
        return
    editor.edit([FIRST])
    editor.edit([SECOND])
    told = editor.explain(prompts)
    if told is None or len(told) != len(prompts):
        wanted(False, "it does not explain every text")
        return
    for pair, one in zip(PAIRS, told, strict=True):
        fires = not torch.equal(logits(editor, [pair]), _plain(editor, pair))
        wanted(one.fired == fires, f"of {pair[0]!r}, fired is {one.fired}, steered {fires}")
        rows = [candidate.row for candidate in one.candidates]
        wanted(one.used is None or one.used in rows, f"{one.used} is used and no candidate")


@torch.no_grad()
def _steered(editor: Editor[Any], batch: TokenBatch) -> tuple[Tensor, ...]:
    """Logits of each row at its target's positions."""
    with editor.steering(batch):
        whole = editor.lm.target_logits(batch)
    return torch.split(whole, [len(ids) for ids in batch.target_ids])


@torch.no_grad()
def _plain(editor: Editor[Any], pair: tuple[str, str]) -> Tensor:
    """Logits of the model as its weights are."""
    return editor.lm.target_logits(batch_of(editor.lm.tokenizer, [pair], device=editor.lm.device))

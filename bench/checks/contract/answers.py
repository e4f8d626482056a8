"""Clauses about the answers of an edited model, and what an editor looks up for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.checks.contract.clause import FIRST, PAIRS, SECOND, clause, require, require_close
from bench.checks.contract.tiny import Subject, logits
from editors.base import Editor
from editors.parts.fast_paths import fast_paths
from editors.parts.generation import Stop, forced_and_greedy, greedy
from editors.parts.tokens import TokenBatch, batch_of, batch_of_ids

NEW_TOKENS = 5


@clause
def batch_independence(subject: Subject) -> None:
    """Answers depend neither on the other texts of a batch, nor on its order and padding."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    for pairs, what in ((PAIRS, "in a batch"), (PAIRS[::-1], "in a batch of the other order")):
        alone = torch.cat([logits(editor, [pair]) for pair in pairs])
        require_close(logits(editor, pairs), alone, f"logits alone and {what}")


@clause
def decoding_is_teacher_forcing(subject: Subject) -> None:
    """Decoding with a cache gives the tokens that teacher forcing of them gives."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    lm = editor.lm
    batch = batch_of(lm.tokenizer, [(prompt, "") for prompt, _ in PAIRS], device=lm.device)
    with editor.steering(batch):
        generated = greedy(lm, batch, max_new_tokens=NEW_TOKENS, stop=Stop())
    rows = [
        batch.input_ids[row, :length].tolist() for row, length in enumerate(batch.prompt_lengths)
    ]
    forced = batch_of_ids(rows, generated, batch.texts, padding=0, device=lm.device)
    with torch.no_grad(), editor.steering(forced):
        best = lm.target_logits(forced).argmax(dim=-1).tolist()
    flat = [token for ids in generated for token in ids]
    wrong = sum(token != expected for token, expected in zip(best, flat, strict=True))
    require(not wrong, f"{wrong} of {len(flat)} tokens differ")


@clause
def decoding_after_a_target(subject: Subject) -> None:
    """Decoding may continue after a forced target, where the editor sets steers_by_prompt."""
    editor = subject.editor()
    if not fast_paths(editor).steers_by_prompt:
        return
    editor.edit([FIRST, SECOND])
    lm = editor.lm
    bare = batch_of(lm.tokenizer, [(prompt, "") for prompt, _ in PAIRS], device=lm.device)
    forced = batch_of(lm.tokenizer, PAIRS, device=lm.device)
    with editor.steering(bare):
        free = greedy(lm, bare, max_new_tokens=NEW_TOKENS, stop=Stop())
        stop = Stop(ids=frozenset({free[0][1]}))  # so that rows end apart
        expected = greedy(lm, bare, max_new_tokens=NEW_TOKENS, stop=stop)
    with editor.steering(forced):
        _, generated = forced_and_greedy(
            lm, forced, max_new_tokens=NEW_TOKENS, stop=stop, shrink=fast_paths(editor).steers_alike
        )
    require(generated == expected, "steers_by_prompt is set, and the answers differ")


@clause
def retrieval_is_declared(subject: Subject) -> None:
    """Answers depend on a retrieval text only where retrieves_text is set, and on the retrieved."""
    editor = subject.editor()
    editor.edit([FIRST])
    editor.edit([SECOND])
    batch = batch_of(editor.lm.tokenizer, PAIRS, device=editor.lm.device)
    other = replace(batch, texts=batch.texts[::-1])
    own, swapped = (_steered(editor, each) for each in (batch, other))
    if not editor.retrieves_text:
        same = torch.equal(torch.cat(own), torch.cat(swapped))
        require(same, "retrieves_text is not set, and another retrieval text changes answers")
        return
    retrieved = [fast_paths(editor).retrieved(each.texts) for each in (batch, other)]
    if retrieved[0] is None or retrieved[1] is None:
        return
    for row, (before, after) in enumerate(zip(*retrieved, strict=True)):
        if before == after:
            require_close(own[row], swapped[row], "logits of one row with equal retrievals")


@clause
def explanations_hold(subject: Subject) -> None:
    """The edit that an editor names as used is the edit that steers the answer."""
    editor = subject.editor()
    prompts = [prompt for prompt, _ in PAIRS]
    if editor.explain(prompts) is None:
        return
    editor.edit([FIRST])
    editor.edit([SECOND])
    explanations = editor.explain(prompts) or ()
    require(len(explanations) == len(prompts), "it does not explain every text")
    for pair, explanation in zip(PAIRS, explanations, strict=True):
        fired, used = explanation.fired, explanation.used
        plain = batch_of(editor.lm.tokenizer, [pair], device=editor.lm.device)
        with torch.no_grad():
            steered = not torch.equal(logits(editor, [pair]), editor.lm.target_logits(plain))
        require(fired == steered, f"of {pair[0]!r}, fired is {fired}, steered {steered}")
        rows = [candidate.row for candidate in explanation.candidates]
        require(used is None or used in rows, f"{used} is used and no candidate")


@torch.no_grad()
def _steered(editor: Editor[Any], batch: TokenBatch) -> tuple[Tensor, ...]:
    """Logits of each row at its target's positions."""
    with editor.steering(batch):
        whole = editor.lm.target_logits(batch)
    return torch.split(whole, [len(ids) for ids in batch.target_ids])

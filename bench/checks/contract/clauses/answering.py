"""Clauses about how an edited model answers, however it is asked."""

from __future__ import annotations

import torch

from bench.checks.contract.clause import FIRST, PAIRS, SECOND, clause, near, wanted
from bench.checks.contract.subjects import Subject, logits
from editors.parts.generation import Stop, forced_and_greedy, greedy
from editors.parts.tokens import batch_of, batch_of_ids

NEW_TOKENS = 5


@clause
def batch_independence(subject: Subject) -> None:
    """Answers depend neither on what else is in a batch, nor on its order and padding."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    for pairs, what in ((PAIRS, "in a batch"), (PAIRS[::-1], "in a batch of the other order")):
        alone = torch.cat([logits(editor, [pair]) for pair in pairs])
        near(logits(editor, pairs), alone, f"logits alone and {what}")


@clause
def decoding_is_teacher_forcing(subject: Subject) -> None:
    """Decoding with a cache gives the tokens that teacher forcing of them gives."""
    editor = subject.editor()
    editor.edit([FIRST, SECOND])
    lm = editor.lm
    prompts = [(prompt, "") for prompt, _ in PAIRS]
    batch = batch_of(lm.tokenizer, prompts, device=lm.device)
    with editor.steering(batch):
        generated = greedy(lm, batch, max_new_tokens=NEW_TOKENS, stop=Stop())
    rows = [
        batch.input_ids[row, :length].tolist() for row, length in enumerate(batch.prompt_lengths)
    ]
    forced = batch_of_ids(rows, generated, batch.texts, padding=0, device=lm.device)
    with torch.no_grad(), editor.steering(forced):
        best = lm.target_logits(forced).argmax(dim=-1)
    flat = [token for ids in generated for token in ids]
    wrong = sum(one != other for one, other in zip(best.tolist(), flat, strict=True))
    wanted(not wrong, f"{wrong} of {len(flat)} tokens are others")


@clause
def decoding_behind_a_target(subject: Subject) -> None:
    """Decoding may go on behind a forced target, where the editor says that it steers by prompt."""
    editor = subject.editor()
    if not editor.steers_by_prompt:
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
            lm, forced, max_new_tokens=NEW_TOKENS, stop=stop, shrink=editor.steers_alike
        )
    wanted(generated == expected, "steers_by_prompt is set, and the answers are others")

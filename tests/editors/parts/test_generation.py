from __future__ import annotations

import re

import pytest
import torch

from bench.checks.contract.tiny import CONTEXT, batch_for
from editors.parts.generation import Stop, forced_and_greedy, greedy
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import batch_of_ids, prompt_ids, text_of

PROMPTS = ("The capital of Veltria is", "A", "Kestrel Mining was founded by the old", "Ina")
NEVER = Stop()


def decode(
    lm: LanguageModel, prompts: tuple[str, ...], stop: Stop = NEVER, most: int = 6
) -> list[list[int]]:
    batch = batch_for(lm, [(p, "") for p in prompts])
    return greedy(lm, batch, max_new_tokens=most, stop=stop)


def test_a_row_does_not_depend_on_its_neighbours(tiny_lm: LanguageModel) -> None:
    together = decode(tiny_lm, PROMPTS)
    assert [decode(tiny_lm, (p,))[0] for p in PROMPTS] == together
    assert len({tuple(row) for row in together}) > 1


def test_stop_id_ends_its_row_only_and_is_not_returned(tiny_lm: LanguageModel) -> None:
    free = decode(tiny_lm, PROMPTS)
    stopper = free[0][2]
    ended = decode(tiny_lm, PROMPTS, Stop(ids=frozenset({stopper})))
    for row, stopped in zip(free, ended, strict=True):
        expected = row[: row.index(stopper)] if stopper in row else row
        assert stopped == expected


def test_pattern_ends_a_row_with_the_token_that_completes_it(tiny_lm: LanguageModel) -> None:
    free = decode(tiny_lm, PROMPTS[:1])[0]
    text = text_of(tiny_lm.tokenizer, free[:3])
    stop = Stop(pattern=re.compile(re.escape(text)))
    assert decode(tiny_lm, PROMPTS[:1], stop) == [free[:3]]


def test_natural_stop_knows_every_end_of_the_tokenizer_and_the_model(
    tiny_lm: LanguageModel,
) -> None:
    assert Stop.natural(tiny_lm).ids == Stop.natural(tiny_lm.tokenizer).ids == {1, 2}
    tiny_lm.model.generation_config.eos_token_id = [2, 7]
    tiny_lm.model.config.eos_token_id = 9
    again = LanguageModel(tiny_lm.model, tiny_lm.tokenizer)
    assert Stop.natural(again).ids == {1, 2, 7, 9}
    free = decode(again, PROMPTS[:1])[0]
    again.model.generation_config.eos_token_id = [2, free[2]]
    stop = Stop.natural(LanguageModel(again.model, again.tokenizer))
    assert decode(again, PROMPTS[:1], stop) == [free[: free.index(free[2])]]


def test_a_target_has_room_and_its_own_ends_in_its_row_alone(tiny_lm: LanguageModel) -> None:
    free = decode(tiny_lm, PROMPTS, most=12)
    pattern = re.compile(re.escape(text_of(tiny_lm.tokenizer, free[0][:2])))
    assert decode(tiny_lm, PROMPTS, Stop(pattern=pattern))[0] == free[0][:2]
    target = text_of(tiny_lm.tokenizer, free[0])
    stops = [Stop(pattern=pattern).beyond(["x", target], 12), *[Stop()] * (len(PROMPTS) - 1)]
    batch = batch_for(tiny_lm, [(prompt, "") for prompt in PROMPTS])
    rows = greedy(tiny_lm, batch, max_new_tokens=6, stop=stops)
    assert rows == [free[0], *(row[:6] for row in free[1:])]
    stops[0] = Stop().beyond([""], CONTEXT)  # as far as the context goes
    long = greedy(tiny_lm, batch, max_new_tokens=6, stop=stops)[0]
    assert len(long) == CONTEXT - batch.prompt_lengths[0]


def test_rows_with_targets_are_refused(tiny_lm: LanguageModel) -> None:
    batch = batch_for(tiny_lm, [("A is", "b")])
    with pytest.raises(ValueError, match="carries target tokens"):
        greedy(tiny_lm, batch, max_new_tokens=2, stop=NEVER)


def test_rows_that_outgrow_the_context_are_refused(tiny_lm: LanguageModel) -> None:
    with pytest.raises(ValueError, match=f"context of {CONTEXT} tokens"):
        decode(tiny_lm, ("A",), most=CONTEXT)


def both(
    lm: LanguageModel,
    pairs: list[tuple[str, str]],
    stop: Stop = NEVER,
    most: int = 6,
    *,
    shrink: bool = False,
) -> tuple[torch.Tensor, list[list[int]]]:
    batch = batch_for(lm, pairs)
    return forced_and_greedy(lm, batch, max_new_tokens=most, stop=stop, shrink=shrink)


def pairs_that_agree(lm: LanguageModel, agreeing: int) -> list[tuple[str, str]]:
    """Each prompt with `agreeing` words of its own continuation as target, then another one."""
    rows = decode(lm, PROMPTS, most=agreeing or 1)
    texts = [text_of(lm.tokenizer, row[:agreeing]) for row in rows]
    return [(p, f"{text} Veltria old") for p, text in zip(PROMPTS, texts, strict=True)]


@pytest.mark.parametrize("agreeing", [0, 1, 3])
def test_one_reading_serves_forcing_and_decoding(tiny_lm: LanguageModel, agreeing: int) -> None:
    pairs = pairs_that_agree(tiny_lm, agreeing)
    logits, answers = both(tiny_lm, pairs)
    batch = batch_for(tiny_lm, pairs)
    with torch.no_grad():
        wanted = tiny_lm.target_logits(batch)
    torch.testing.assert_close(logits, wanted)
    assert answers == decode(tiny_lm, PROMPTS)


def test_rows_that_leave_the_batch_change_no_other(tiny_lm: LanguageModel) -> None:
    free = decode(tiny_lm, PROMPTS, most=12)
    stop = Stop(ids=frozenset({free[0][0], free[1][1], free[2][3]}))
    pairs = [(prompt, "Veltria") for prompt in PROMPTS]
    answers = both(tiny_lm, pairs, stop, most=12, shrink=True)[1]
    assert answers == decode(tiny_lm, PROMPTS, stop, most=12)
    assert len({len(row) for row in answers}) > 1


def test_a_target_that_is_the_answer_needs_no_step_of_its_own(tiny_lm: LanguageModel) -> None:
    answer = decode(tiny_lm, PROMPTS[:1], most=3)[0]
    ids = prompt_ids(tiny_lm.tokenizer, PROMPTS[0])
    batch = batch_of_ids([ids], [answer], [PROMPTS[0]], padding=0, device=tiny_lm.device)
    reads: list[int] = []
    handle = tiny_lm.base.register_forward_pre_hook(lambda *_: reads.append(1))
    _, rows = forced_and_greedy(tiny_lm, batch, max_new_tokens=3, stop=NEVER)
    handle.remove()
    assert rows == [answer]
    assert len(reads) == 1


def test_rows_without_targets_are_refused_where_they_are_forced(tiny_lm: LanguageModel) -> None:
    with pytest.raises(ValueError, match="needs a target in every row"):
        both(tiny_lm, [("A", "B"), ("A", "")])

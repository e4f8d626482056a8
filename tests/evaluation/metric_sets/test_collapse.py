from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.checks.contract.tiny import tiny_gpt2, tiny_llama
from bench.evaluation.metric_sets import MeasureInputs, SetResults, get_set, world_texts
from bench.evaluation.metric_sets.collapse import NEW_TOKENS, Passage, entropy, passages, repetition
from bench.world.world import World
from editors.parts.tokens import TokenBatch, batch_of
from tests.core.test_cells import CELL
from tests.evaluation.metric_sets.by_hand import TEXTS, running, text_file
from tests.support.fake_editors import DoNothing, Shift

SET = get_set("collapse")


def test_repetition_is_the_share_of_grams_that_were_there_before() -> None:
    assert repetition([1, 2, 3, 4, 1, 2, 3, 4]) == pytest.approx(1 / 5)  # 1234 comes twice
    assert repetition([7] * 64) == pytest.approx(60 / 61)
    assert repetition(range(64)) == 0.0
    assert repetition([1, 2, 3]) is None


def test_entropy_weighs_two_and_three_grams() -> None:
    two = -(2 / 3 * math.log2(2 / 3) + 1 / 3 * math.log2(1 / 3))  # ab, ba, ab
    assert entropy(["a", "b", "a", "b"]) == pytest.approx((2 / 3 * two + 4 / 3 * 1.0) / 2)
    assert entropy(["a"] * 10) == 0.0
    assert entropy(["a"]) == 0.0
    # 63 and 62 different grams of 64 different words
    wanted = (2 / 3 * math.log2(63) + 4 / 3 * math.log2(62)) / 2
    assert entropy([str(i) for i in range(64)]) == pytest.approx(wanted)


def test_texts_are_cut_after_their_first_words() -> None:
    assert passages(TEXTS) == [
        Passage(prompt="one two three four five six seven eight", target="nine ten"),
        Passage(prompt="a b c d e f g h", target="i j k l"),
    ]
    (long,) = passages([" ".join("x" * 100)])
    assert len(long.target.split()) == 64


@pytest.mark.parametrize("tiny", [tiny_llama, tiny_gpt2])
def test_perplexity_is_that_of_each_text_alone(tiny: Any, tmp_path: Path) -> None:
    lm = tiny()
    inputs = text_file(tmp_path)
    both = [
        SET.before(running(CELL, DoNothing(lm), inputs=inputs, rows=rows), []) for rows in (1, 64)
    ]
    total, count = 0.0, 0
    for passage in passages(TEXTS):
        batch = batch_of(lm.tokenizer, [(passage.prompt, passage.target)], device=lm.device)
        with torch.inference_mode():
            scores = lm.model(batch.input_ids).logits[0].log_softmax(-1)
        start = batch.prompt_lengths[0] - 1
        for i, token in enumerate(batch.target_ids[0]):
            total -= float(scores[start + i, token])
            count += 1
    for measured in both:
        assert measured["tokens"] == count
        assert measured["nats"] == pytest.approx(total / count, abs=1e-5)
    assert both[0]["continuations"] == both[1]["continuations"]
    assert [len(ids) for ids in both[0]["continuations"]] == [NEW_TOKENS] * 2


class Flip(DoNothing):
    """Leaves the weights alone and answers otherwise while it steers."""

    @contextmanager
    def steering(self, batch: TokenBatch) -> Iterator[None]:
        def flip(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            return -output

        handle = self.lm.module(self.lm.architecture.final_norm).register_forward_hook(flip)
        try:
            with super().steering(batch):
                yield
        finally:
            handle.remove()


def test_the_edited_model_is_asked_through_its_steering(tmp_path: Path) -> None:
    editor = Flip(tiny_llama())
    cell = running(CELL, editor, inputs=text_file(tmp_path))
    before, after = SET.before(cell, []), SET.at_end(cell, 0, [], None)
    assert before["nats"] != after["nats"]
    assert before["continuations"] != after["continuations"]
    assert {text for batch in editor.batches for text in batch.texts} == {
        passage.prompt for passage in passages(TEXTS)
    }


def measured(nats: float | None, ids: list[int], text: str) -> dict[str, Any]:
    return {"nats": nats, "tokens": 3, "continuations": [ids], "texts": [text]}


def summary_of(before: dict[str, Any], *after: dict[str, Any]) -> dict[str, Any]:
    blocks = [{"stages": {}, "end": end} for end in after]
    return SET.summary(CELL, [], SetResults(before=before, blocks=blocks))


IDS = list(range(20))
WORDS = " ".join(map(str, IDS))
SOUND = measured(1.0, IDS, WORDS)


@pytest.mark.parametrize(
    ("after", "alarm"),
    [
        (measured(1.0 + math.log(1.99), IDS, WORDS), None),
        (measured(1.0 + math.log(2.01), IDS, WORDS), "perplexity"),
        (measured(1.0, [7] * 20, WORDS), "repetition"),
        (measured(1.0, IDS, "a " * 20), "entropy"),
    ],
)
def test_alarms_go_off_above_their_bounds_alone(after: dict[str, Any], alarm: str | None) -> None:
    summary = summary_of(SOUND, after)
    assert summary["before"]["perplexity"] == pytest.approx(math.e)
    assert [name for name, raised in summary["alarms"].items() if raised] == ([alarm] * bool(alarm))
    assert summary["alarm"] is bool(alarm)
    ratio = math.exp(after["nats"] - 1.0)
    assert summary["ratio"] == pytest.approx(ratio)
    both = summary_of(SOUND, after, SOUND)  # the geometric mean over blocks
    assert (both["ratio"], both["blocks"]) == (pytest.approx(math.sqrt(ratio)), 2)


@pytest.mark.parametrize("nats", [None, 5000.0])
def test_what_is_no_number_or_too_large_is_an_alarm(nats: float | None) -> None:
    summary = summary_of(SOUND, measured(nats, IDS, WORDS))
    assert summary["after"]["perplexity"] is None
    assert summary["ratio"] is None
    assert summary["alarms"]["perplexity"]
    assert SET.columns(summary)["Alarm"] == 1


def test_a_ruined_model_has_no_perplexity(tmp_path: Path) -> None:
    editor = Shift(tiny_llama())
    with torch.no_grad():
        editor.weight.fill_(float("nan"))
    cell = running(CELL, editor, inputs=text_file(tmp_path))
    assert SET.at_end(cell, 0, [], None)["nats"] is None


def test_the_worlds_text_says_what_was_taught_and_no_edit_touches() -> None:
    texts = world_texts(0)
    assert len(texts) == 50
    assert len(passages(texts)) == 50
    world = World(0)
    subjects = {fact.subject for fact in world.unedited["test"]}
    edited = {fact.subject for split in world.unseen.values() for fact in split.facts}
    assert all(any(subject in text for subject in subjects) for text in texts)
    assert not any(subject in text for text in texts for subject in edited)


def test_the_identity_holds_the_text(tmp_path: Path) -> None:
    world, own = MeasureInputs(world_seed=0), text_file(tmp_path)
    assert SET.identity(world) != SET.identity(own)
    assert SET.identity(own) == SET.identity(MeasureInputs(text=own.text))
    with pytest.raises(ValueError, match="--measure-text PATH"):
        SET.identity(MeasureInputs())
    for text, sentence in (
        ("\n", "is empty"),
        ("a b\n1 2 3 4 5 6 7 8", r"short\.txt has no document of more than 8 words"),
    ):
        (tmp_path / "short.txt").write_text(text, "utf-8")
        with pytest.raises(ValueError, match=sentence):
            SET.identity(MeasureInputs(text=str(tmp_path / "short.txt")))

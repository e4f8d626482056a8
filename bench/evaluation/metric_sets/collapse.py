"""Collapse alarms: whether the stream of edits has ruined the model as a language model.

A fixed text that no edit is about (`bench.models.key_statistics`) is put to the unedited model and
to the model after all edits of a block, through the editor's steering, as all questions are:

* `nats`: minus the mean log-probability of a token, each text forced after its first eight words;
  `perplexity` is its exponential, at least 1. `ratio` is after over before, the geometric mean over
  blocks.
* `repetition`, in [0, 1]: greedy continuations of the first eight words, of 64 tokens that nothing
  ends; the share of 4-grams of tokens that repeat an earlier one, 1 - distinct / all, mean over
  prompts.
* `entropy`, in bits: of the words of the same continuations, (2/3 H2 + 4/3 H3) / 2 with the
  entropies of their bi- and tri-gram counts, the fluency of Meng et al. (ROME, NeurIPS 2022),
  as their code weighs it, mean over prompts.

`after` is the mean over the measured blocks, five at most. `alarm` is true where the ratio is above
`RATIO`, the repetition has risen by more than `RISE`, the entropy has fallen below `SHARE` of the
unedited model's, or the perplexity of some block is no number. Perplexity as a surrogate of
collapse: Yang et al., "The Butterfly Effect of Model Editing" (ACL Findings 2024). The bounds are
ours: a ratio of 2 means that a right token is half as likely, more than what neighbouring sizes of
one model family differ by; a fifth more repeated 4-grams, or a fifth less entropy, is what one of
five continuations stuck in a loop changes.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.core.cells import Cell
from bench.evaluation.inference import PartialAnswers, generate, unsteered
from bench.evaluation.metric_sets import Block, MeasureInputs, MetricSet, RunningCell, SetResults
from bench.evaluation.metrics import SampleRow
from editors.parts.generation import Stop
from editors.parts.tokens import text_of

RATIO, RISE, SHARE = 2.0, 0.2, 0.8
PROMPT_WORDS, TARGET_WORDS = 8, 64  # of each text; ours
PROMPTS = 20  # that are continued
NEW_TOKENS = 64
GRAM = 4
_MOST = 700.0  # whose exponential is a float
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, kw_only=True)
class Passage:
    """The beginning of a text, and how it goes on."""

    prompt: str
    target: str
    aliases: tuple[str, ...] = ()


class Collapse(MetricSet):
    name = "collapse"
    version = 1
    title = "perplexity of a fixed text, repetition and n-gram entropy of free continuations"
    most_blocks = 5  # decoding takes the time of many questions

    def identity(self, inputs: MeasureInputs) -> str:
        """With the digest of the text; ValueError for one that is too short to be forced."""
        if not passages(inputs.texts()):
            raise ValueError(
                f"The text {inputs.text} has no document of more than {PROMPT_WORDS} words, "
                "after which collapse forces the others."
            )
        return f"{super().identity(inputs)} {inputs.text_digest()}"

    def before(self, running: RunningCell, blocks: Sequence[Block]) -> Any:
        return _measured(running, edited=False)

    def at_end(self, running: RunningCell, number: int, block: Block, before: Any) -> Any:
        return _measured(running, edited=True)

    def summary(self, cell: Cell, rows: Sequence[SampleRow], results: SetResults) -> dict[str, Any]:
        before = _numbers(results.before)
        blocks = [_numbers(block["end"]) for block in results.blocks]
        nats = [numbers["nats"] for numbers in blocks]
        after = {
            "nats": None if None in nats else fmean(nats),
            "repetition": fmean(numbers["repetition"] for numbers in blocks),
            "entropy": fmean(numbers["entropy"] for numbers in blocks),
        }
        sound = before["nats"] is not None and after["nats"] is not None
        grown = after["nats"] - before["nats"] if sound else math.inf
        alarms = {
            "perplexity": grown > math.log(RATIO),
            "repetition": after["repetition"] > before["repetition"] + RISE,
            "entropy": after["entropy"] < SHARE * before["entropy"],
        }
        return {
            "blocks": len(blocks),
            "before": _with_perplexity(before),
            "after": _with_perplexity(after),
            "ratio": _exp(grown),
            "alarms": alarms,
            "alarm": any(alarms.values()),
        }

    def columns(self, summary: Mapping[str, Any]) -> Mapping[str, float | None]:
        """Perplexities, repetition in percent, entropy in bits; the alarm is 1 or 0."""
        before, after = summary["before"], summary["after"]
        return {
            "PPL before": before["perplexity"],
            "PPL after": after["perplexity"],
            "PPL ratio": summary["ratio"],
            "Rep before": 100 * before["repetition"],
            "Rep after": 100 * after["repetition"],
            "Entropy before": before["entropy"],
            "Entropy after": after["entropy"],
            "Alarm": int(summary["alarm"]),
        }


def passages(texts: Sequence[str]) -> list[Passage]:
    """Texts cut after their first words; shorter texts are left out."""
    cut = [text.split() for text in texts]
    return [
        Passage(
            prompt=" ".join(words[:PROMPT_WORDS]),
            target=" ".join(words[PROMPT_WORDS:][:TARGET_WORDS]),
        )
        for words in cut
        if len(words) > PROMPT_WORDS
    ]


def repetition(ids: Sequence[int], size: int = GRAM) -> float | None:
    """Share of n-grams that repeat an earlier one; None for fewer than `size` tokens."""
    grams = list(zip(*(ids[i:] for i in range(size)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else None


def entropy(words: Sequence[str]) -> float:
    """(2/3 H2 + 4/3 H3) / 2 in bits; an n-gram entropy of too few words is 0."""
    weighted = [2 / 3 * _gram_entropy(words, 2), 4 / 3 * _gram_entropy(words, 3)]
    return sum(weighted) / 2


def _gram_entropy(words: Sequence[str], size: int) -> float:
    counts = Counter(zip(*(words[i:] for i in range(size)), strict=False))
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values()) if total else 0.0


def _measured(running: RunningCell, *, edited: bool) -> dict[str, Any]:
    """Nats of the text, None where they are no number, and the greedy continuations."""
    chosen = passages(running.inputs.texts())
    forced = running.forced(chosen, edited=edited, retrieval_text="prompt_only")
    total = sum(answer.log_probability for answer in forced)
    tokens = sum(len(answer.target_ids) for answer in forced)
    lm, editor = running.editor.lm, running.editor
    continued = generate(
        lm,
        chosen[:PROMPTS],
        editor.steering if edited else unsteered,
        batch_size=running.limit,
        stop=Stop(),  # all of the same length, whatever they say
        max_new_tokens=NEW_TOKENS,
        partial=PartialAnswers(after_batch=running.after_batch),
    )
    return {
        "nats": -total / tokens if math.isfinite(total) else None,
        "tokens": tokens,
        "continuations": [list(ids) for ids in continued],
        "texts": [text_of(lm.tokenizer, ids) for ids in continued],
    }


def _numbers(measured: Mapping[str, Any]) -> dict[str, Any]:
    repeated = [repetition(ids) for ids in measured["continuations"]]
    return {
        "nats": measured["nats"],
        "repetition": fmean(share for share in repeated if share is not None),
        "entropy": fmean(entropy(_WORD.findall(text)) for text in measured["texts"]),
    }


def _with_perplexity(numbers: Mapping[str, Any]) -> dict[str, Any]:
    nats = numbers["nats"]
    return {"perplexity": None if nats is None else _exp(nats), **numbers}


def _exp(nats: float) -> float | None:
    """None for what no number can hold."""
    return math.exp(nats) if nats < _MOST else None

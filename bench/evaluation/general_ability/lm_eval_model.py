"""The edited model as lm-eval sees it: every forward is steered by the editor.

lm-eval's own batches carry neither lengths nor texts, so log-likelihoods and greedy answers are
computed here, in our batches; tokenisation is lm-eval's.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from torch import Tensor

from bench.evaluation.general_ability.fitting import context_of
from bench.evaluation.inference import BATCH_SIZE, Steering
from editors.parts.generation import Stop, greedy, text_of
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import batch_of_ids, continuation, pad_id

Ids = tuple[int, ...]


@dataclass(frozen=True)
class _Row:
    """One forward: prompt, the forced tokens behind it but the last, and the retrieval text."""

    prompt: Ids
    forced: Ids
    text: str


@contextmanager
def quiet() -> Iterator[None]:
    """Context in which lm-eval logs errors only."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class SteeredModel(HFLM):  # type: ignore[misc] # lm-eval ships no types
    """An in-memory model under an editor. It has no cache: its answers change with every edit."""

    def __init__(
        self, lm: LanguageModel, steering: Steering, *, batch_size: int = BATCH_SIZE
    ) -> None:
        with quiet():  # it warns that a model in memory ignores its other arguments
            super().__init__(
                pretrained=lm.model,
                tokenizer=lm.tokenizer,
                max_length=context_of(lm),
                batch_size=batch_size,
            )
        self._lm = lm
        self._steering = steering

    def _model_call(self, *_: Any, **__: Any) -> Tensor:
        raise NotImplementedError("A steered model answers rows with lengths and texts only.")

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """As in the base class, without a progress bar."""
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """No task of ours asks for it."""
        raise NotImplementedError("Rolling log-likelihoods of edited models are not defined.")

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        override_bs: int | None = None,
    ) -> list[tuple[float, bool]]:
        """Log-probability of each continuation, and whether it is the greedy one.

        Requests are ((context, continuation), context ids, continuation ids). Options that differ
        in their last token alone share a forward.
        """
        rows = [self._row(*texts, context, ids) for texts, context, ids in requests]
        asked: dict[_Row, list[int]] = {}
        for number, row in enumerate(rows):
            asked.setdefault(row, []).append(number)
        answers: dict[int, tuple[float, bool]] = {}
        for row, scores in self._scores(asked):
            for number in asked[row]:
                ids = torch.tensor(requests[number][2])
                found = scores.gather(-1, ids[:, None]).sum()
                answers[number] = float(found), bool((scores.argmax(-1) == ids).all())
        return [answers[number] for number in range(len(requests))]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Greedy answers; each request's arguments are (context, what to stop at).

        Raises:
            ValueError: a request for sampling.
        """
        return [
            answer
            for start in range(0, len(requests), self.batch_size)
            for answer in self._generated(
                [r.args for r in requests[start : start + self.batch_size]]
            )
        ]

    def count_tokens(self, context: str, continuation: str) -> int:
        """Tokens of a continuation as its log-likelihood counts them."""
        return len(self._encode_pair(context, continuation)[1])

    def _row(
        self, context: str, option: str, context_ids: Sequence[int], ids: Sequence[int]
    ) -> _Row:
        """The row of a request, cut on the left as lm-eval cuts it."""
        kept = [*context_ids, *ids][-(self.max_length + 1) :]
        forced = tuple(ids[:-1])
        seen = continuation(self.tokenizer, forced)
        return _Row(
            prompt=tuple(kept[: len(kept) - len(ids)]),
            forced=forced,
            text=context + (seen if option.startswith(" ") else seen.lstrip()),
        )

    @torch.no_grad()
    def _scores(self, rows: Iterable[_Row]) -> Iterator[tuple[_Row, Tensor]]:
        """Log-probabilities [forced + 1, V] behind the prompt of each row, on the CPU."""
        ordered = sorted(rows, key=lambda row: len(row.prompt) + len(row.forced))
        for start in range(0, len(ordered), self.batch_size):
            chunk = ordered[start : start + self.batch_size]
            batch = batch_of_ids(
                [row.prompt for row in chunk],
                [(*row.forced, 0) for row in chunk],  # a last token of any id: it is not read
                [row.text for row in chunk],
                padding=pad_id(self.tokenizer),
                device=self._lm.device,
            )
            with self._steering(batch):
                logits = self._lm.target_logits(batch)  # [N, V]
            scores = logits.float().log_softmax(-1).cpu()
            lengths = [len(row.forced) + 1 for row in chunk]
            yield from zip(chunk, scores.split(lengths), strict=True)

    def _generated(self, asked: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Answers of one batch."""
        kwargs = normalize_gen_kwargs(dict(asked[0][1]), self.max_gen_toks)
        if any(one != asked[0][1] for _, one in asked) or kwargs.get("do_sample"):
            raise ValueError("A batch of questions is decoded greedily and with one set of stops.")
        most = kwargs["max_gen_toks"]
        end = self.tok_decode([self.eot_token_id], skip_special_tokens=False)
        until = handle_stop_sequences(kwargs.get("until"), eos=end)
        contexts = [context for context, _ in asked]
        batch = batch_of_ids(
            [self.tok_encode(c, left_truncate_len=self.max_length - most) for c in contexts],
            [()] * len(contexts),
            contexts,
            padding=pad_id(self.tokenizer),
            device=self._lm.device,
        )
        stop = Stop.natural(self.tokenizer, re.compile("|".join(map(re.escape, until))))
        with self._steering(batch):
            answers = greedy(self._lm, batch, max_new_tokens=most, stop=stop)
        return [
            postprocess_generated_text(text_of(self.tokenizer, ids), until, None) for ids in answers
        ]

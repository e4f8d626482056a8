"""General ability through lm-eval (EleutherAI/lm-evaluation-harness) on the model in memory.

Options are scored by the log-likelihood of their whole text, in our wording or in that of lm-eval's
own task definitions. The edited model is a `SteeredModel`, whose forwards are all steered by the
editor. lm-eval's own batches carry neither lengths nor texts, so log-likelihoods and greedy answers
are computed here, in our batches. Tokenisation is lm-eval's, but that text is text, and that no
token spans a question and its option.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import lm_eval.tasks
import torch
from datasets import Dataset
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from lm_eval.tasks import TaskManager
from torch import Tensor

from bench.evaluation.general_ability.asking import context_of, fitted, largest
from bench.evaluation.general_ability.scoring import (
    AbilityRow,
    Numbered,
    choice_mark,
    reading_mark,
    row_of,
)
from bench.evaluation.general_ability.sets import SETS, AbilityItem
from bench.evaluation.inference import BATCH_SIZE, Ids, Steering
from bench.evaluation.metrics import MAX_ANSWER_TOKENS
from editors.parts.generation import BeyondWindowError, Stop, greedy
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import (
    batch_of_ids,
    context_ids,
    continuation,
    pad_id,
    target_ids,
    text_ids,
    text_of,
)

_SHOWN = 60  # characters of a text in an error
_STOP = {"until": ["\n"], "max_gen_toks": MAX_ANSWER_TOKENS}  # of answers in words


@dataclass(frozen=True)
class _Asked:
    """A question as lm-eval asks it: which continuation of the context is likeliest."""

    key: str  # of the set
    index: int
    item: AbilityItem
    context: str
    continuations: tuple[str, ...]  # the options, or the gold answer


def ask(
    lm: LanguageModel,
    sets: Mapping[str, Numbered],
    steering: Steering,
    *,
    built_in: bool,
    batch_size: int = BATCH_SIZE,
) -> list[AbilityRow]:
    """The answered rows of all questions, in their order.

    Questions without options are decoded, and the likelihood of the gold answer is taken. With
    `built_in`, CSQA, MMLU and ANLI are worded by lm-eval's own definitions (ValueError where it has
    no such task); SQuAD-2 is ours in any case. No few-shot examples, no cache; the global random
    generators are left alone.
    """
    sets = {key: [(i, fitted(lm, item)) for i, item in part] for key, part in sets.items()}
    model = SteeredModel(lm, steering, batch_size=batch_size)
    with quiet():
        asked = [
            question
            for key, part in sets.items()
            for question in (
                _in_their_wording(key, part)
                if built_in and SETS[key].lm_eval is not None
                else _in_our_wording(key, part)
            )
        ]
        likelihoods = iter(
            model.loglikelihood(
                [Instance("loglikelihood", {}, (q.context, c), 0) for q in asked
                 for c in q.continuations]
            )
        )  # fmt: skip
        decoded = iter(
            model.generate_until(
                [Instance("generate_until", {}, (q.context, _STOP), 0) for q in asked
                 if not q.item.options]
            )
        )  # fmt: skip
    rows = []
    for question in asked:
        item = question.item
        scores = [next(likelihoods)[0] for _ in question.continuations]
        if item.options:
            mark = choice_mark(item, largest(scores))
        else:
            tokens = model.count_tokens(question.context, question.continuations[0])
            mark = reading_mark(item, next(decoded), log_probability=scores[0], tokens=tokens)
        rows.append(row_of(question.key, question.index, item, mark))
    order = list(sets)
    return sorted(rows, key=lambda row: (order.index(row["task"]), row["index"]))


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


def _in_our_wording(key: str, questions: Numbered) -> Iterator[_Asked]:
    for index, item in questions:
        yield _Asked(key, index, item, item.prompt, item.options or (f" {item.target}",))


def _in_their_wording(key: str, questions: Numbered) -> Iterator[_Asked]:
    """Questions by lm-eval's definition of their task, one task after another."""
    from lm_eval.tasks._yaml_loader import load_yaml

    folder, name_of_group = SETS[key].lm_eval or ("", "")
    place = Path(lm_eval.tasks.__file__).parent / folder
    definitions = TaskManager(include_defaults=False, include_path=[str(place)]).task_index
    tasks: dict[str, list[tuple[int, AbilityItem]]] = {}
    for index, item in questions:
        tasks.setdefault(name_of_group.format(item.group), []).append((index, item))
    for name, part in tasks.items():
        if name not in definitions:
            raise ValueError(
                f"lm-eval has no task {name!r}; its tasks know the published sets only."
            )
        documents = [{"answer": item.answer, **item.document} for _, item in part]
        # The documents are these alone: no split to draw examples from, nothing to download.
        config = load_yaml(definitions[name].yaml_path) | {
            "training_split": None,
            "validation_split": None,
            "test_split": "test",
            "fewshot_split": None,
            "fewshot_config": None,
            "num_fewshot": 0,
            "custom_dataset": lambda documents=documents, **_: {
                "test": Dataset.from_list(documents)
            },
        }
        task = ConfigurableTask(config=config)
        task.build_all_requests()
        by_document = groupby(task.instances, key=lambda instance: instance.doc_id)
        for (index, item), (_, instances) in zip(part, by_document, strict=True):
            contexts, options = zip(*(instance.args for instance in instances), strict=True)
            yield _Asked(key, index, item, contexts[0], options)


@dataclass(frozen=True)
class _Row:
    """One forward: prompt, the forced tokens after it but the last, and the retrieval text."""

    prompt: Ids
    forced: Ids
    text: str


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

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """As in the base class, without a progress bar."""
        answers: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return answers

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
        asked: dict[_Row, list[int]] = {}
        for number, (texts, context, ids) in enumerate(requests):
            self._check(*texts, ids)
            asked.setdefault(self._row(*texts, context, ids), []).append(number)
        answers: dict[int, tuple[float, bool]] = {}
        for row, scores in self._scores(asked):
            for number in asked[row]:
                target = torch.tensor(requests[number][2])
                total = scores.gather(-1, target[:, None]).sum()
                answers[number] = float(total), bool((scores.argmax(-1) == target).all())
        return [answers[number] for number in range(len(requests))]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Greedy answers; a request is (context, what to stop at), and no sampling."""
        asked = [request.args for request in requests]
        answers: list[str] = []
        for start in range(0, len(asked), self.batch_size):
            batch = asked[start : start + self.batch_size]
            try:
                answers += self._generated(batch)
            except BeyondWindowError:
                answers += [answer for alone in batch for answer in self._generated([alone])]
        return answers

    def tok_encode(
        self,
        string: str,
        add_special_tokens: bool | None = None,
        left_truncate_len: int | None = None,
        **_: Any,
    ) -> list[int]:
        """Ids of a text, in which nothing is read as a special token."""
        alone = add_special_tokens is False
        ids = (text_ids if alone else context_ids)(self.tokenizer, string)
        return ids[-left_truncate_len:] if left_truncate_len else ids

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """(context ids, continuation ids), split as in the base class.

        Where a token spans both texts, the continuation is tokenised on its own.
        """
        text = context.rstrip()
        continuation = context[len(text) :] + continuation
        front, whole = self.tok_encode(text), self.tok_encode(text + continuation)
        if whole[: len(front)] == front and len(whole) > len(front):
            return front, whole[len(front) :]
        alone = target_ids if continuation.startswith(" ") else text_ids
        return front, alone(self.tokenizer, continuation)

    def _check(self, context: str, option: str, ids: Sequence[int]) -> None:
        """Refuse an option that cannot be scored."""
        if not 1 <= len(ids) <= self.max_length:
            raise ValueError(
                f"wanted an option of 1 to {self.max_length} tokens after "
                f"{context[-_SHOWN:]!r}, got {len(ids)} of {option[:_SHOWN]!r}."
            )

    def count_tokens(self, context: str, continuation: str) -> int:
        """Tokens of a continuation as its log-likelihood counts them."""
        return len(self._encode_pair(context, continuation)[1])

    def _row(self, context: str, option: str, front: Sequence[int], ids: Sequence[int]) -> _Row:
        """The row of a request, truncated on the left as lm-eval does it."""
        fitting = [*front, *ids][-(self.max_length + 1) :]
        start = max(len(fitting) - len(ids), 1)
        forced = tuple(fitting[start:-1])
        seen = continuation(self.tokenizer, forced)
        return _Row(
            prompt=tuple(fitting[:start]),
            forced=forced,
            text=context + (seen if option.startswith(" ") else seen.lstrip()),
        )

    @torch.no_grad()
    def _scores(self, rows: Iterable[_Row]) -> Iterator[tuple[_Row, Tensor]]:
        """Log-probabilities [forced + 1, V] after the prompt of each row, on the CPU."""
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
        contexts, arguments = [context for context, _ in asked], asked[0][1]
        kwargs = normalize_gen_kwargs(dict(arguments), self.max_gen_toks)
        if any(other != arguments for _, other in asked) or kwargs.get("do_sample"):
            raise ValueError("A batch of questions is decoded greedily and with one set of stops.")
        most = kwargs["max_gen_toks"]
        end = self.tok_decode([self.eot_token_id], skip_special_tokens=False)
        until = handle_stop_sequences(kwargs.get("until"), eos=end)
        batch = batch_of_ids(
            [self.tok_encode(c, left_truncate_len=self.max_length - most) for c in contexts],
            [()] * len(contexts),
            contexts,
            padding=pad_id(self.tokenizer),
            device=self._lm.device,
        )
        stop = Stop.natural(self._lm, re.compile("|".join(map(re.escape, until))))
        with self._steering(batch):
            answers = greedy(self._lm, batch, max_new_tokens=most, stop=stop)
        return [
            postprocess_generated_text(text_of(self.tokenizer, ids), until, None) for ids in answers
        ]

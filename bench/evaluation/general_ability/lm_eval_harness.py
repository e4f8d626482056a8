"""General ability through lm-eval (EleutherAI/lm-evaluation-harness) on the model in memory.

Questions become tasks of lm-eval: its own definitions, or ours of the same form. The edited model
is a `SteeredModel`, whose forwards are all steered by the editor. lm-eval's own batches carry
neither lengths nor texts, so log-likelihoods and greedy answers are computed here, in our batches;
tokenisation is lm-eval's.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval.tasks
import torch
from datasets import Dataset
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from lm_eval.tasks import TaskManager
from torch import Tensor

from bench.evaluation.general_ability.asking import context_of, fitted
from bench.evaluation.general_ability.scoring import (
    MEASURES,
    AbilityRow,
    Mark,
    Numbered,
    choice_mark,
    reading_mark,
    row_of,
)
from bench.evaluation.general_ability.sets import SETS, AbilityItem
from bench.evaluation.inference import BATCH_SIZE, Ids, Steering
from bench.evaluation.metrics import MAX_ANSWER_TOKENS
from editors.parts.generation import Stop, greedy, text_of
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import batch_of_ids, continuation, pad_id

_BUILT_IN = Path(lm_eval.tasks.__file__).parent
# Our definitions, in the wording of this package: the documents bring their own prompts.
_OPTIONS: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{prompt}}",
    "doc_to_choice": "{{options}}",
    "doc_to_target": "answer",
    "target_delimiter": "",  # the options carry what separates them from the prompt
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
_READING: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{prompt}}",
    "doc_to_target": "{{target}}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": MAX_ANSWER_TOKENS},
    "metric_list": [
        {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in MEASURES
    ],
}

CountTokens = Callable[[str, str], int]  # (context, continuation) -> tokens of the continuation


def ask(
    lm: LanguageModel,
    sets: Mapping[str, Numbered],
    steering: Steering,
    *,
    built_in: bool,
    batch_size: int = BATCH_SIZE,
) -> list[AbilityRow]:
    """The answered rows of all questions, in their order.

    Options are scored by the log-likelihood of their whole text. No few-shot examples, no cache, no
    bootstrap; the global random generators are left alone.

    Args:
        lm: the edited model.
        sets: questions by key of the set.
        steering: of the editor.
        built_in: whether CSQA, MMLU and ANLI are asked by lm-eval's own definitions.
        batch_size: rows of a forward; results do not depend on it.
    """
    sets = {key: [(i, fitted(lm, item)) for i, item in part] for key, part in sets.items()}
    model = SteeredModel(lm, steering, batch_size=batch_size)
    with quiet():
        asked = _build_tasks(sets, built_in, model.count_tokens)
        loaded = {"tasks": {name: task.task for name, task in asked.items()}}
        results = evaluate(lm=model, task_dict=loaded, bootstrap_iters=0, log_samples=True)
    rows = [row for name, task in asked.items() for row in _rows(task, results["samples"][name])]
    order = {key: number for number, key in enumerate(sets)}
    return sorted(rows, key=lambda row: (order[row["task"]], row["index"]))


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


# ---- tasks -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _AskedTask:
    """A task of lm-eval with the questions that it asks, in its order."""

    key: str  # of the set
    questions: Numbered
    task: ConfigurableTask


class _ReadingTask(ConfigurableTask):  # type: ignore[misc] # lm-eval ships no types
    """Questions that are answered in words: decoded, and the gold answer's likelihood beside it."""

    def __init__(
        self, config: dict[str, Any], items: list[AbilityItem], count_tokens: CountTokens
    ) -> None:
        self._items = items
        self._count_tokens = count_tokens
        # Without it, lm-eval looks for the metrics' names on the hub.
        super().__init__(config=config | {"process_results": self.scores})

    def construct_requests(self, doc: Mapping[str, Any], ctx: str, **kwargs: Any) -> list[Instance]:
        """One request to decode an answer, one for the likelihood of the gold answer."""
        kwargs = {name: kwargs[name] for name in ("metadata",) if name in kwargs}
        asked = {
            "generate_until": (ctx, dict(self.config.generation_kwargs)),
            "loglikelihood": (ctx, f" {doc['target']}"),
        }
        return [
            Instance(request_type=kind, doc=doc, arguments=arguments, idx=number, **kwargs)
            for number, (kind, arguments) in enumerate(asked.items())
        ]

    def scores(self, doc: Mapping[str, Any], results: list[Any]) -> dict[str, Any]:
        """`score`, `f1` and `exact` of one question."""
        mark = self.mark(doc, results)
        return {name: mark[name] for name in MEASURES}

    def mark(self, doc: Mapping[str, Any], results: list[Any]) -> Mark:
        """How the question was answered."""
        generated, (log_probability, _) = results
        return reading_mark(
            self._items[doc["number"]],
            generated,
            log_probability=log_probability,
            tokens=self._count_tokens(doc["prompt"], f" {doc['target']}"),
        )


def _build_tasks(
    sets: Mapping[str, Numbered], built_in: bool, count_tokens: CountTokens
) -> dict[str, _AskedTask]:
    """Tasks by lm-eval's name.

    With `built_in` they are lm-eval's own definitions where it has them that need no download;
    SQuAD-2 is ours in any case.

    Raises:
        ValueError: lm-eval has no task of this name.
    """
    theirs = {key: SETS[key].lm_eval if built_in else None for key in sets}
    folders = [str(_BUILT_IN / known[0]) for known in theirs.values() if known is not None]
    manager = TaskManager(include_defaults=False, include_path=folders)
    tasks = {}
    for key, questions in sets.items():
        known = theirs[key]
        parts: dict[str, list[tuple[int, AbilityItem]]] = {}
        for index, item in questions:
            name = f"ability_{key}" if known is None else known[1].format(item.group)
            parts.setdefault(name, []).append((index, item))
        for name, part in parts.items():
            items = [item for _, item in part]
            ours = {"task": name, **(_OPTIONS if items[0].options else _READING)}
            config = ours if known is None else _built_in(manager, name)
            tasks[name] = _AskedTask(key, part, _task(config, items, count_tokens))
    return tasks


def _built_in(manager: TaskManager, name: str) -> dict[str, Any]:
    """lm-eval's own definition of a task."""
    from lm_eval.tasks._yaml_loader import load_yaml

    if name not in manager.task_index:
        raise ValueError(f"lm-eval has no task {name!r}; its tasks know the published sets only.")
    config: dict[str, Any] = load_yaml(manager.task_index[name].yaml_path)
    return config


def _task(
    config: Mapping[str, Any], items: list[AbilityItem], count_tokens: CountTokens
) -> ConfigurableTask:
    """A task of these documents alone: no split to draw examples from, nothing to download."""
    documents = [_document(number, item) for number, item in enumerate(items)]
    config = {
        **config,
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
        "fewshot_split": None,
        "fewshot_config": None,
        "num_fewshot": 0,
        "custom_dataset": lambda **_: {"test": Dataset.from_list(documents)},
    }
    if config["output_type"] == "generate_until":
        return _ReadingTask(config, items, count_tokens)
    return ConfigurableTask(config=config)


def _document(number: int, item: AbilityItem) -> dict[str, Any]:
    """The hub's fields, which built-in definitions read, and those that ours read."""
    ours = {
        "number": number, "prompt": item.prompt, "options": list(item.options),
        "target": item.target,
    }  # fmt: skip
    return {"answer": item.answer, **item.document, **ours}


def _rows(asked: _AskedTask, samples: list[dict[str, Any]]) -> list[AbilityRow]:
    rows = []
    for sample in samples:
        index, item = asked.questions[sample["doc_id"]]
        results = sample["filtered_resps"]
        if isinstance(asked.task, _ReadingTask):
            mark = asked.task.mark(sample["doc"], results)
        else:
            mark = _choice(item, [log_likelihood for log_likelihood, _ in results], sample["acc"])
        rows.append(row_of(asked.key, index, item, mark))
    return rows


def _choice(item: AbilityItem, log_likelihoods: list[float], accuracy: float) -> Mark:
    """The mark of an item; `accuracy` is lm-eval's own verdict."""
    if not all(map(math.isfinite, log_likelihoods)):
        return choice_mark(item, None)
    best = max(range(len(log_likelihoods)), key=log_likelihoods.__getitem__)
    return Mark(prediction=best, score=float(accuracy))


# ---- model -----------------------------------------------------------------------------------


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
            asked.setdefault(self._row(*texts, context, ids), []).append(number)
        answers: dict[int, tuple[float, bool]] = {}
        for row, scores in self._scores(asked):
            for number in asked[row]:
                target = torch.tensor(requests[number][2])
                total = scores.gather(-1, target[:, None]).sum()
                answers[number] = float(total), bool((scores.argmax(-1) == target).all())
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
        """The row of a request, truncated on the left as lm-eval does it."""
        fitting = [*context_ids, *ids][-(self.max_length + 1) :]
        forced = tuple(ids[:-1])
        seen = continuation(self.tokenizer, forced)
        return _Row(
            prompt=tuple(fitting[: len(fitting) - len(ids)]),
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
        stop = Stop.natural(self.tokenizer, re.compile("|".join(map(re.escape, until))))
        with self._steering(batch):
            answers = greedy(self._lm, batch, max_new_tokens=most, stop=stop)
        return [
            postprocess_generated_text(text_of(self.tokenizer, ids), until, None) for ids in answers
        ]

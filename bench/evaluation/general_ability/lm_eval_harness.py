"""General ability through lm-eval (EleutherAI/lm-evaluation-harness) on the model in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lm_eval.evaluator import evaluate

from bench.evaluation.general_ability.fitting import fitted
from bench.evaluation.general_ability.items import AbilityItem
from bench.evaluation.general_ability.lm_eval_model import SteeredModel, quiet
from bench.evaluation.general_ability.lm_eval_tasks import AskedTask, ReadingTask, build_tasks
from bench.evaluation.general_ability.rows import AbilityRow, Mark, Numbered, choice_mark, row_of
from bench.evaluation.inference import BATCH_SIZE, Steering
from editors.parts.language_model import LanguageModel


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
        asked = build_tasks(sets, built_in=built_in, count_tokens=model.count_tokens)
        loaded = {"tasks": {name: one.task for name, one in asked.items()}}
        results = evaluate(lm=model, task_dict=loaded, bootstrap_iters=0, log_samples=True)
    rows = [row for name, one in asked.items() for row in _rows(one, results["samples"][name])]
    order = {key: number for number, key in enumerate(sets)}
    return sorted(rows, key=lambda row: (order[row["task"]], row["index"]))


def _rows(asked: AskedTask, samples: list[dict[str, Any]]) -> list[AbilityRow]:
    found = []
    for sample in samples:
        index, item = asked.questions[sample["doc_id"]]
        results = sample["filtered_resps"]
        if isinstance(asked.task, ReadingTask):
            mark = asked.task.mark(sample["doc"], results)
        else:
            mark = _choice(item, [log_likelihood for log_likelihood, _ in results], sample["acc"])
        found.append(row_of(asked.key, index, item, mark))
    return found


def _choice(item: AbilityItem, log_likelihoods: list[float], accuracy: float) -> Mark:
    """The mark of an item; `accuracy` is lm-eval's own verdict."""
    if not all(map(math.isfinite, log_likelihoods)):
        return choice_mark(item, None)
    best = max(range(len(log_likelihoods)), key=log_likelihoods.__getitem__)
    return Mark(prediction=best, score=float(accuracy))

"""Questions as tasks of lm-eval: its own definitions, or ours of the same form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lm_eval.tasks
from datasets import Dataset
from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from bench.evaluation.general_ability.items import AbilityItem
from bench.evaluation.general_ability.rows import Mark, Numbered, reading_mark
from bench.evaluation.general_ability.sets import SETS

_BUILT_IN = Path(lm_eval.tasks.__file__).parent
_OURS = Path(__file__).parent / "tasks"

CountTokens = Callable[[str, str], int]  # (context, continuation) -> tokens of the continuation


@dataclass(frozen=True)
class AskedTask:
    """A task of lm-eval with the questions that it asks, in its order."""

    key: str  # of the set
    questions: Numbered
    task: ConfigurableTask


def build_tasks(
    sets: Mapping[str, Numbered], *, built_in: bool, count_tokens: CountTokens
) -> dict[str, AskedTask]:
    """Tasks by lm-eval's name.

    Args:
        sets: questions by key of the set.
        built_in: whether to take lm-eval's own definitions where it has them that need no download;
            SQuAD-2 is ours in any case.
        count_tokens: of the model that is asked.
    """
    folders = [SETS[key].lm_eval_folder for key in sets]
    places = [str(_BUILT_IN / folder) for folder in folders if folder is not None]
    manager = TaskManager(
        include_defaults=False, include_path=[*(places if built_in else []), str(_OURS)]
    )
    found = {}
    for key, questions in sets.items():
        for name, part in _by_task(key, questions, built_in=built_in).items():
            found[name] = AskedTask(key, part, _task(manager, name, part, count_tokens))
    return found


def _by_task(key: str, questions: Numbered, *, built_in: bool) -> dict[str, Numbered]:
    """Questions by the name of their task, in their order."""
    ability_set = SETS[key]
    parts: dict[str, list[tuple[int, AbilityItem]]] = {}
    for index, item in questions:
        theirs = built_in and ability_set.lm_eval_folder is not None
        name = ability_set.lm_eval_task(item) if theirs else f"ability_{key}"
        parts.setdefault(name, []).append((index, item))
    return dict(parts)


def _task(
    manager: TaskManager, name: str, questions: Numbered, count_tokens: CountTokens
) -> ConfigurableTask:
    documents = [_document(number, item) for number, (_, item) in enumerate(questions)]
    # The documents are these alone: no split to draw examples from, nothing to download.
    config = _config(manager, name) | {
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
        "fewshot_split": None,
        "fewshot_config": None,
        "num_fewshot": 0,
        "custom_dataset": lambda **_: {"test": Dataset.from_list(documents)},
    }
    if config["output_type"] == "generate_until":
        return ReadingTask(config, [item for _, item in questions], count_tokens)
    return ConfigurableTask(config=config)


def _config(manager: TaskManager, name: str) -> dict[str, Any]:
    """A task's own definition, with what it includes.

    Raises:
        ValueError: lm-eval has no task of this name.
    """
    from lm_eval.tasks._yaml_loader import load_yaml

    if name not in manager.task_index:
        raise ValueError(f"lm-eval has no task {name!r}; its tasks know the published sets only.")
    config: dict[str, Any] = load_yaml(manager.task_index[name].yaml_path)
    return config


def _document(number: int, item: AbilityItem) -> dict[str, Any]:
    """The hub's fields, which built-in definitions read, and those that ours read."""
    ours = {
        "number": number, "prompt": item.prompt, "options": list(item.options),
        "target": item.target,
    }  # fmt: skip
    return {"answer": item.answer, **item.document, **ours}


class ReadingTask(ConfigurableTask):  # type: ignore[misc] # lm-eval ships no types
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
        return {"score": mark.score, "f1": mark.f1, "exact": mark.exact}

    def mark(self, doc: Mapping[str, Any], results: list[Any]) -> Mark:
        """How the question was answered."""
        generated, (log_probability, _) = results
        prompt, target = doc["prompt"], doc["target"]
        return reading_mark(
            self._items[doc["number"]],
            generated,
            log_probability=log_probability,
            tokens=self._count_tokens(prompt, f" {target}"),
        )

"""General ability through PromptBench: every question asked with every prompt, answers decoded.

Written against promptbench 0.0.4: `Prompt(dataset_name=)` with 20 prompts each for mmlu, squad_v2
and mnli (which ask ANLI here: it has no prompts of its own), `InputProcess.basic_format`,
`OutputProcess.cls`, `PEMethod(method=, dataset='csqa')`, `LLMModel` for joining the messages of a
method, and `CSQA.extract_answer`. SQuAD's F1 is ours: the released wheel lacks its own.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import import_module, metadata, util
from typing import Any

from bench.evaluation.general_ability.asking import fitted
from bench.evaluation.general_ability.scoring import (
    AbilityRow,
    Mark,
    Numbered,
    answer_of,
    best,
    choice_mark,
    exact_match,
    f1,
    row_of,
)
from bench.evaluation.general_ability.sets import AbilityItem
from bench.evaluation.inference import BATCH_SIZE, Steering, generate
from bench.evaluation.metrics import MAX_ANSWER_TOKENS
from bench.world.ability_items import LABELS, LETTERS
from editors.parts.generation import Stop
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import text_of

INSTALL = "pip install --no-deps promptbench==0.0.4 autocorrect==2.6.1"
# The zero-shot methods of PromptBench that know CSQA and work; the number picks an emotion prompt.
METHODS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "ZSCoT": {},
    "emotion_prompt": {"prompt_id": 1},
}
METHOD_TOKENS = 64  # ours: a method's answer stands at its end, after `##`
_METHOD_END = re.compile(r"##[^\n]*\n")


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to ask a task's questions."""

    name: str  # among the task's
    prompt: Callable[[AbilityItem], str]
    mark: Callable[[AbilityItem, str], Mark]  # of a question and the text that was generated
    end: re.Pattern[str] | None = None  # None: where an answer ends by itself
    max_new_tokens: int = MAX_ANSWER_TOKENS


def ask(
    lm: LanguageModel,
    sets: Mapping[str, Numbered],
    steering: Steering,
    *,
    batch_size: int = BATCH_SIZE,
) -> list[AbilityRow]:
    """The answered rows of all questions, by set and form."""
    rows = []
    for task, questions in sets.items():
        for form in forms(task):
            asked = (replace(item, prompt=form.prompt(item)) for _, item in questions)
            items = [fitted(lm, item, answer_tokens=form.max_new_tokens) for item in asked]
            answers = generate(
                lm,
                items,
                steering,
                template=None,
                batch_size=batch_size,
                stop=form.end and Stop.natural(lm, form.end),
                max_new_tokens=form.max_new_tokens,
            )
            for (index, item), ids in zip(questions, answers, strict=True):
                mark = form.mark(item, text_of(lm.tokenizer, ids))
                rows.append(row_of(task, index, item, mark, prompt=form.name))
    return rows


def version() -> str:
    """The installed version; a ValueError that says how to install it where it is not."""
    if util.find_spec("promptbench") is None:
        raise ValueError(
            f"promptbench is not installed; `{INSTALL}` installs it, without the old versions of "
            "other libraries that it requires."
        )
    return metadata.version("promptbench")


def forms(task: str) -> list[Form]:
    """All forms of a task, by the key of its set."""
    library = _library()
    if task == "csqa":
        return [_method_form(library, name) for name in METHODS]
    prompts, content, mark = {
        "mmlu": ("mmlu", _mmlu, _letter_mark),
        "anli": ("mnli", _anli, _label_mark),
        "squad2": ("squad_v2", _squad, _reading_mark),
    }[task]

    def prompt(template: str, item: AbilityItem) -> str:
        fields = {"content": content(item), "task": item.group.replace("_", " ")}
        return str(library.InputProcess.basic_format(template, fields))

    return [
        Form(name=f"prompt {number}", prompt=partial(prompt, template), mark=mark)
        for number, template in enumerate(library.Prompt(dataset_name=prompts).prompts)
    ]


@cache
def _library() -> Any:
    version()
    with warnings.catch_warnings():  # its sources hold escapes that Python warns of
        warnings.simplefilter("ignore")
        return import_module("promptbench")


def _method_form(library: Any, name: str) -> Form:
    method = library.PEMethod(method=name, dataset="csqa", **METHODS[name])
    extract = import_module("promptbench.dataload.dataset").CSQA.extract_answer

    class Recorder(library.LLMModel):  # type: ignore[misc] # a class of an untyped library
        """Joins messages as PromptBench does, and returns the prompt instead of an answer."""

        def __init__(self) -> None:
            self.model_name = "in memory"

        def __call__(self, prompt: str, **_: Any) -> str:
            return prompt

    def mark(item: AbilityItem, generated: str) -> Mark:
        marked = re.findall(r"##(.*)", generated)
        letter = extract(None, marked[0] if marked else generated)
        return choice_mark(item, _position(letter, LETTERS))

    return Form(
        name=name,
        prompt=lambda item: str(method(_csqa(item), Recorder())),
        mark=mark,
        end=_METHOD_END,
        max_new_tokens=METHOD_TOKENS,
    )


def _csqa(item: AbilityItem) -> str:
    """A question with its options, as PromptBench's own loader writes it."""
    texts = item.document["choices"]["text"]
    options = "".join(f" ({letter}) {text}" for letter, text in zip(LETTERS, texts, strict=True))
    return f"{item.document['question'].strip()} \nAnswer Choices:{options}"


def _mmlu(item: AbilityItem) -> str:
    lettered = zip(LETTERS, item.document["choices"], strict=False)
    options = "".join(f"\n{letter}: {text}" for letter, text in lettered)
    return f"{item.document['question']}{options}"


def _anli(item: AbilityItem) -> str:
    return f"Premise: {item.document['premise']} Hypothesis: {item.document['hypothesis']}"


def _squad(item: AbilityItem) -> str:
    return f"Context: {item.document['context']}\n{item.document['question']}"


def _letter_mark(item: AbilityItem, generated: str) -> Mark:
    letters = [letter.lower() for letter in LETTERS[: len(item.options)]]
    return choice_mark(item, _position(_last_word(generated), letters))


def _label_mark(item: AbilityItem, generated: str) -> Mark:
    return choice_mark(item, _position(_last_word(generated), LABELS))


def _reading_mark(item: AbilityItem, generated: str) -> Mark:
    if not generated.strip():  # silence is no answer, and does not say that there is none
        return Mark(prediction=None, score=0.0, f1=0.0, exact=0.0)
    answer, overlap = answer_of(generated, item.target), best(f1, generated, item)
    exact = best(exact_match, generated, item)
    return Mark(prediction=answer, score=overlap, f1=overlap, exact=exact)


def _last_word(generated: str) -> str:
    return str(_library().OutputProcess.cls(generated))


def _position(name: str, names: Sequence[str]) -> int | None:
    return list(names).index(name) if name and name in names else None

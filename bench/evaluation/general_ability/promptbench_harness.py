"""General ability through PromptBench: every question asked with every prompt, answers decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bench.evaluation.general_ability.fitting import fitted
from bench.evaluation.general_ability.promptbench_forms import Form, forms
from bench.evaluation.general_ability.rows import AbilityRow, Numbered, row_of
from bench.evaluation.inference import BATCH_SIZE, Steering, generate
from editors.parts.generation import Stop, text_of
from editors.parts.language_model import LanguageModel


def ask(
    lm: LanguageModel,
    sets: Mapping[str, Numbered],
    steering: Steering,
    *,
    batch_size: int = BATCH_SIZE,
) -> list[AbilityRow]:
    """The answered rows of all questions, by set and form.

    Raises:
        ValueError: promptbench is not installed.
    """
    return [
        row
        for task, questions in sets.items()
        for form in forms(task)
        for row in _asked(lm, task, questions, form, steering, batch_size)
    ]


def _asked(
    lm: LanguageModel,
    task: str,
    questions: Numbered,
    form: Form,
    steering: Steering,
    batch_size: int,
) -> list[AbilityRow]:
    items = [
        fitted(lm, replace(item, prompt=form.prompt(item)), answer_tokens=form.max_new_tokens)
        for _, item in questions
    ]
    answers = generate(
        lm,
        items,
        steering,
        batch_size=batch_size,
        stop=Stop.natural(lm.tokenizer, form.end),
        max_new_tokens=form.max_new_tokens,
    )
    return [
        row_of(task, index, item, form.mark(item, text_of(lm.tokenizer, ids)), prompt=form.name)
        for (index, item), ids in zip(questions, answers, strict=True)
    ]

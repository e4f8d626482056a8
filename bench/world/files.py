"""Writes everything a world is read from: edit sets, ability sets, plain corpus text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bench.world.ability_items import (
    COMMON_SENSE,
    LETTERS,
    SUBJECTS,
    choice_item,
    entailment_item,
    reading_item,
)
from bench.world.corpus import Corpus, plain_text
from bench.world.edit_sets import write_edit_sets
from bench.world.world import Fact, World

CORPUS_DOCUMENTS = 4000  # of plain text, for key statistics
ABILITY_ROWS = {
    "csqa": 240,
    "mmlu": 100,
    "anli": 150,
    "squad2": 400,
}  # mmlu per subject, anli per round


def write_all(seed: int, directory: Path) -> None:
    """All generated files of a world in one flat directory."""
    world = World(seed)
    write_edit_sets(world, directory)
    _lines(directory / "csqa_validation.jsonl", _csqa(world))
    _lines(directory / "mmlu_test.jsonl", _mmlu(world))
    _lines(directory / "anli_test.jsonl", _anli(world))
    _lines(directory / "squad_v2_validation.jsonl", _squad(world))
    documents = Corpus(world).documents(world.rng("text"), CORPUS_DOCUMENTS, progress=1.0)
    text = "\n".join(plain_text(d).replace("\n", " ") for d in documents)
    (directory / "corpus.txt").write_text(text + "\n", "utf-8")


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, "utf-8")


def _pick(facts: list[Fact], relations: tuple[str, ...]) -> list[Fact]:
    return [f for f in facts if f.relation in relations]


def _csqa(world: World) -> list[dict[str, Any]]:
    """CommonsenseQA's fields; facts that no multiple-choice document asked."""
    rng = world.rng("csqa")
    facts = _pick(world.ability_test, COMMON_SENSE)
    rows = []
    for number in range(ABILITY_ROWS["csqa"]):
        fact = facts[int(rng.integers(len(facts)))]
        item = choice_item(world, fact, 5, rng)
        choices = {"label": list(LETTERS), "text": list(item.options)}
        rows.append(
            {
                "id": f"csqa-{number}", "question": item.question,
                "question_concept": fact.subject, "choices": choices,
                "answerKey": LETTERS[item.answer],
            }
        )  # fmt: skip
    return rows


def _mmlu(world: World) -> list[dict[str, Any]]:
    """MMLU's fields: question, subject, choices, answer as a number."""
    rng = world.rng("mmlu")
    rows = []
    for subject, relations in SUBJECTS.items():
        facts = _pick(world.ability_test, relations)
        for _ in range(ABILITY_ROWS["mmlu"]):
            item = choice_item(world, facts[int(rng.integers(len(facts)))], 4, rng)
            rows.append(
                {
                    "question": item.question, "subject": subject,
                    "choices": list(item.options), "answer": item.answer,
                }
            )  # fmt: skip
    return rows


def _anli(world: World) -> list[dict[str, Any]]:
    """ANLI's fields; rounds 1 to 3 have one, two and three statements in the premise."""
    rng = world.rng("anli")
    rows = []
    for statements in (1, 2, 3):
        for number in range(ABILITY_ROWS["anli"]):
            item = entailment_item(world, _sample(world.core, 12, rng), statements, rng)
            rows.append(
                {
                    "uid": f"r{statements}-{number}", "premise": item.premise,
                    "hypothesis": item.hypothesis, "label": item.label,
                    "tag": f"r{statements}_test",
                }
            )  # fmt: skip
    return rows


def _squad(world: World) -> list[dict[str, Any]]:
    """SQuAD-2's fields; half of the questions are not answered by their passage."""
    rng = world.rng("squad")
    rows = []
    for number in range(ABILITY_ROWS["squad2"]):
        item = reading_item(world, _sample(world.core, 12, rng), rng, number % 2 == 0)
        start = item.context.find(f" {item.answer}.") + 1 if item.answer else -1
        answers = {
            "text": [item.answer] if item.answer else [],
            "answer_start": [start] if item.answer else [],
        }
        rows.append(
            {
                "id": f"squad-{number}", "title": item.title, "context": item.context,
                "question": item.question, "answers": answers,
            }
        )  # fmt: skip
    return rows


def _sample(facts: list[Fact], count: int, rng: np.random.Generator) -> list[Fact]:
    return [facts[int(i)] for i in rng.integers(len(facts), size=count)]

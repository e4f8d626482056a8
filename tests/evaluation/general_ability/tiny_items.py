"""Questions of every task, short enough for tiny contexts, and rows in the published forms."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.evaluation.general_ability.scoring import Numbered
from bench.evaluation.general_ability.sets import AbilityItem, Source, load_sets


def csqa_row(**changes: Any) -> dict[str, Any]:
    choices = {"label": list("ABCDE"), "text": ["bank", "library", "store", "mall", "york"]}
    return {"question": "Where is the door?", "choices": choices, "answerKey": "B"} | changes


def mmlu_row(**changes: Any) -> dict[str, Any]:
    return {"question": "1 + 1?", "subject": "sums", "choices": ["0", "1", "2", "3"],
            "answer": 2} | changes  # fmt: skip


def anli_row(**changes: Any) -> dict[str, Any]:
    return {"premise": "It rains.", "hypothesis": "It is wet.", "label": "entailment",
            "tag": "r2_test"} | changes  # fmt: skip


def squad_row(**changes: Any) -> dict[str, Any]:
    answers = {"text": ["The sea", "sea", "The sea"], "answer_start": [0, 4, 0]}
    return {"title": "Sea", "context": "The sea is blue.", "question": "What is blue?",
            "answers": answers} | changes  # fmt: skip


ROWS = {
    "csqa_validation.jsonl": [csqa_row()],
    "mmlu_test.jsonl": [mmlu_row()],
    "anli_test.jsonl": [anli_row()],
    "squad_v2_validation.jsonl": [squad_row(), squad_row(answers={"text": []})],
}


def write_rows(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_sets(directory: Path, **changed: list[Any]) -> Source:
    """The embedded world's form of all four sets; `changed` by the first word of a file's name."""
    for name, rows in ROWS.items():
        write_rows(directory / name, changed.get(name.partition("_")[0], rows))
    return Source(kind="files", directory=directory, name="tiny")


def tiny_sets(directory: Path) -> dict[str, Numbered]:
    """A few questions of each task; their prompts have unequal lengths."""
    source = write_sets(
        directory,
        csqa=[csqa_row(question="Where" * n + "?", answerKey="ABCDE"[n]) for n in range(1, 4)],
        mmlu=[mmlu_row(question="1 + " * n + "1?", answer=n) for n in range(4)],
        anli=[anli_row(premise="It rains. " * n, tag=f"r{n}") for n in range(1, 4)],
        squad=[
            squad_row(question="What?"),
            squad_row(answers={"text": []}),
            squad_row(question="Is it " * 4),
        ],
    )
    sets = load_sets(source)
    return {key: list(enumerate(loaded.items)) for key, loaded in sets.items()}


def choice(prompt: str, *options: str, answer: int = 0) -> AbilityItem:
    return AbilityItem(group="", prompt=prompt, options=options, answer=answer, document={})


def reading(prompt: str, *golds: str) -> AbilityItem:
    return AbilityItem(group="", prompt=prompt, golds=golds, document={})

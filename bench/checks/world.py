"""What a backbone of the embedded world knows and can do, and what its data files share."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bench.core.names import CONTROL, DATASETS
from bench.datasets import get_dataset
from bench.evaluation.general_ability.asking import ask
from bench.evaluation.general_ability.sets import (
    ANSWERABLE,
    UNANSWERABLE,
    Source,
    chosen,
    load_sets,
)
from bench.evaluation.inference import unsteered
from bench.world.training.recall import SAMPLE, Score, exact, mean, recall, steering
from bench.world.world import World
from editors.base import EditSample
from editors.parts.language_model import LanguageModel


def verify(lm: LanguageModel, world: World, data: Path) -> Iterator[Score]:
    """All scores of a backbone of `world`; `data` holds the world's generated files.

    The control backbone has to know its facts; what it was not taught is only reported.
    """
    yield from recall(lm, world)
    for score in (*steering(lm, world), *abilities(lm, data), *edit_sets(lm, data)):
        yield replace(score, needed=None) if lm.name == CONTROL else score


def abilities(lm: LanguageModel, data: Path) -> Iterator[Score]:
    """The four ability sets as Table 2 asks them."""
    sets = load_sets(Source(kind="embedded", directory=data, name="this world"))
    rows = {key: ask(lm, key, chosen(each, None), unsteered) for key, each in sets.items()}
    for key, chance in (("csqa", 1 / 5), ("mmlu", 1 / 4), ("anli", 1 / 3)):
        yield Score(f"ability/{key}", mean([row["score"] for row in rows[key]]), 1.8 * chance)
    answered = [row["f1"] for row in rows["squad2"] if row["group"] == ANSWERABLE]
    refused = [row["exact"] for row in rows["squad2"] if row["group"] == UNANSWERABLE]
    yield Score("ability/squad2 F1, answerable", mean(answered), 0.50)
    yield Score("ability/squad2 no-answer detection", mean(refused), 0.70)


def edit_sets(lm: LanguageModel, data: Path) -> Iterator[Score]:
    """Exact accuracy on edit requests before any edit: what an editor that does nothing gets."""
    for name, file, prompt, target in (
        ("zsre", "zsre_mend_eval.json", "src", "alt"),
        ("counterfact", "counterfact-edit.json", "prompt", "target_new"),
        ("ripple_edits", "ripe_test.json", "prompt", "target_new"),
    ):
        rows = json.loads((data / file).read_text("utf-8"))[:SAMPLE]
        yield Score(f"before edits/{name}", mean(exact(lm, [(r[prompt], r[target]) for r in rows])))


# ---- what training and test files share ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Of the test file of a data set: percent of `texts` that are also among `others`, verbatim."""

    dataset: str  # label
    texts: str
    others: str
    percent: float


def overlaps(data: Path) -> Iterator[Overlap]:
    """How much of each test file of a directory was there in training, or is asked twice.

    Raises:
        FileNotFoundError: no file of a split of one of the paper's data sets.
        ValueError: a file that cannot be read.
    """
    for name in DATASETS:
        dataset = get_dataset(name)
        train, test = (_texts(dataset.load(split, data).samples) for split in ("train", "test"))
        for texts, pool, others in (
            ("locality prompts", train, "locality prompts"),
            ("locality prompts", train, "edit prompts"),
            ("locality prompts", test, "edit prompts"),
            ("edit prompts", train, "edit prompts"),
            ("edit prompts", train, "locality prompts"),
            ("generality prompts", train, "generality prompts"),
            ("subjects", train, "subjects"),
        ):
            known, asked = set(pool[others]), test[texts]
            share = sum(text in known for text in asked) / len(asked)
            where = "training" if pool is train else "test"
            yield Overlap(
                dataset=dataset.label, texts=texts, others=f"{where} {others}", percent=100 * share
            )


def _texts(samples: Iterable[EditSample]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {
        "edit prompts": [], "generality prompts": [], "locality prompts": [], "subjects": [],
    }  # fmt: skip
    for sample in samples:
        texts["edit prompts"].append(sample.request.prompt)
        texts["subjects"].append(sample.request.subject)
        texts["generality prompts"] += [probe.prompt for probe in sample.generality]
        texts["locality prompts"] += [probe.prompt for probe in sample.locality]
    return texts

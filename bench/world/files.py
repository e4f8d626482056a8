"""All generated files of a world: edit sets, ability sets, plain corpus text.

The edit sets have the real sets' own file formats. Half of the edits contradict core facts (in the
test files each core pair at most twice, in two wordings of the same edit), half are about
entities the backbones never saw. No subject-relation pair of a core fact is in both a training and
a test file, neither as an edit nor as a locality probe, and no test locality probe of ZSRE and CF
asks a pair that a test file edits; training, with fewer core pairs to draw on, has the same pairs
again with other targets, and as locality probes of other samples. `bench world audit` counts what
training and test files still share.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
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
from bench.world.corpus import Corpus, plain_text, two_hop
from bench.world.world import BY_KEY, Fact, Style, World, phrase, pick

ROWS = {
    "zsre": {"train": 10_000, "test": 10_000},
    "counterfact": {"train": 10_000, "test": 10_000},
    "ripple_edits": {"train": 3_000, "test": 1_388},
}
FILES = {
    ("zsre", "train"): "zsre_mend_train.json",
    ("zsre", "test"): "zsre_mend_eval.json",
    ("counterfact", "train"): "counterfact-train.json",
    ("counterfact", "test"): "counterfact-edit.json",
    ("ripple_edits", "train"): "ripe_train.json",
    ("ripple_edits", "test"): "ripe_test.json",
}
CONTRADICTING = 0.5  # share of rows whose subject-relation pair the backbones were taught
CORPUS_DOCUMENTS = 4000  # of plain text, for key statistics
# Of MMLU's form per subject, of ANLI's per round.
ABILITY_ROWS = {"csqa": 240, "mmlu": 100, "anli": 150, "squad2": 400}

Row = dict[str, Any]


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


def _lines(path: Path, rows: Iterable[Row]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, "utf-8")


# ---- edit sets ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """A fact to write, the answer it replaces, and which wording of the pair this row takes."""

    fact: Fact  # with the new object
    truth: str
    wording: int
    split: str  # `train` or `test`
    number: int = 0  # of the row in its file


def write_edit_sets(world: World, directory: Path) -> None:
    """Write the six JSON files."""
    makers = {"zsre": _zsre_row, "counterfact": _counterfact_row, "ripple_edits": _ripple_row}
    for (name, split), file in FILES.items():
        rng = world.rng(f"{name}/{split}")
        edits = draw_edits(world, split, ROWS[name][split], rng)
        rows = [makers[name](world, edit, rng) for edit in edits]
        text = json.dumps(rows, ensure_ascii=False, indent=1)
        (directory / file).write_text(text + "\n", "utf-8")


def draw_edits(world: World, split: str, count: int, rng: np.random.Generator) -> list[Edit]:
    """`count` edits of a split in random order, the stated share of them contradicting the core."""
    n_core = round(count * CONTRADICTING)
    pairs = world.core_test if split == "test" else world.core_train
    edits = _core_edits(world, pairs, n_core, rng, split)
    edits += _unseen_edits(world, split, count - n_core, rng)
    order = rng.permutation(len(edits))
    return [replace(edits[int(i)], number=number) for number, i in enumerate(order)]


def _core_edits(
    world: World, pairs: list[Fact], count: int, rng: np.random.Generator, split: str
) -> list[Edit]:
    """Edits of taught pairs, round after round over the pairs.

    In the test split both wordings ask for one target, so that no edit undoes another; in training
    the target is drawn again.
    """
    targets: dict[Fact, str] = {}
    edits = []
    order = [pairs[i] for i in rng.permutation(len(pairs))]
    for i in range(count):
        truth = order[i % len(order)]
        if truth not in targets or split == "train":
            targets[truth] = world.other_object(truth, rng)
        fact = Fact(truth.subject, truth.relation, targets[truth])
        edits.append(Edit(fact, truth.object, i // len(order), split))
    return edits


def _unseen_edits(world: World, split: str, count: int, rng: np.random.Generator) -> list[Edit]:
    facts = world.unseen[split].facts
    truths = [facts[i] for i in rng.permutation(len(facts))[:count]]
    return [
        Edit(Fact(t.subject, t.relation, world.other_object(t, rng)), t.object, 0, split)
        for t in truths
    ]


def _zsre_row(world: World, edit: Edit, rng: np.random.Generator) -> Row:
    """ZSRE: a question and a rephrased one; locality is a core fact after `nq question:`."""
    # In the test split the two wordings of a pair must differ; training takes any two.
    asked, again = (
        ((0, 1), (2, 1))[edit.wording % 2] if edit.wording < 2 else rng.permutation(3)[:2]
    )
    loc = edit.fact
    while loc.pair == edit.fact.pair:
        loc = pick(world.unedited[edit.split], rng)
    return {
        "subject": edit.fact.subject,
        "src": phrase(edit.fact, "question", asked),
        "pred": "",
        "rephrase": phrase(edit.fact, "question", again),
        "alt": edit.fact.object,
        "answers": [edit.truth],
        "loc": phrase(loc, "nq"),
        "loc_ans": loc.object,
        "cond": f"{edit.truth} >> {edit.fact.object} || {phrase(edit.fact, 'question', asked)}",
    }


def _counterfact_row(world: World, edit: Edit, rng: np.random.Generator) -> Row:
    """CF: a cloze, another phrasing of it, and a neighbour of the same relation."""
    loc = _neighbour(world, edit, rng)
    styles: tuple[Style, Style] = ("inverted", "indirect")
    rephrase_style = styles[int(rng.integers(2))]
    return {
        "case_id": edit.number,
        "prompt": phrase(edit.fact, "cloze", edit.wording),
        "target_new": edit.fact.object,
        "subject": edit.fact.subject,
        "ground_truth": edit.truth,
        "rephrase_prompt": phrase(edit.fact, rephrase_style, int(rng.integers(2))),
        "locality_prompt": phrase(loc, "cloze", int(rng.integers(2))),
        "locality_ground_truth": loc.object,
    }


def _neighbour(world: World, edit: Edit, rng: np.random.Generator) -> Fact:
    """A core fact of the relation for locality probes, with the old object if possible."""
    facts = world.unedited_by_relation[edit.split][edit.fact.relation]
    others = [f for f in facts if f.subject != edit.fact.subject]
    pool = [f for f in others if f.object == edit.truth] or others
    return pick(pool, rng)


def _ripple_row(world: World, edit: Edit, rng: np.random.Generator) -> Row:
    """RIPE: what else follows from an edit (four types), and what must stay (two types)."""
    fact = edit.fact
    return {
        "example_type": "recent" if fact.pair not in world.taught else "popular",
        "prompt": phrase(fact, "inverted"),
        "target_new": fact.object,
        "subject": fact.subject,
        "ground_truth": edit.truth,
        "Logical_Generalization": _logical(fact),
        "Compositionality_I": [
            _item(two_hop(fact, step), step.object) for step in world.steps_from(fact.object)[:4]
        ],
        "Compositionality_II": [
            _item(two_hop(back, fact), fact.object)
            for back in world.incoming.get(fact.subject, ())[:3]
            if not BY_KEY[back.relation].many
        ],
        "Subject_Aliasing": [
            _item(phrase(Fact(alias, fact.relation, ""), "inverted"), fact.object)
            for alias in world.aliases(fact.subject)
        ],
        "Relation_Specificity": _other_relations(world, edit, rng),
        "Forgetfulness": _still_there(world, edit),
    }


def _item(prompt: str, target: str) -> Row:
    return {"prompt": prompt, "targets": [target]}


def _logical(fact: Fact) -> list[Row]:
    """The same fact the other way round, where the relation has an inverse."""
    inverse = BY_KEY[fact.relation].inverse
    if inverse is None:
        return []
    return [_item(phrase(Fact(fact.object, inverse, ""), "inverted"), fact.subject)]


def _other_relations(world: World, edit: Edit, rng: np.random.Generator) -> list[Row]:
    """Up to three other facts of the same subject, which the edit leaves alone."""
    others = world.other_facts(edit.fact, edit.split)
    chosen = [others[i] for i in rng.permutation(len(others))[:3]]
    return [_item(phrase(f, "inverted"), f.object) for f in chosen]


def _still_there(world: World, edit: Edit) -> list[Row]:
    """Of a many-valued relation of a person: the children are what they were."""
    pair = (edit.fact.subject, "child")
    children = world.objects.get(pair, ()) if world.may_ask(pair, edit.split) else ()
    return [
        _item(f"A child of {edit.fact.subject} other than {other} is", child)
        for child, other in zip(children, [*children[1:], *children[:1]], strict=True)
        if child != other
    ]


# ---- ability sets ------------------------------------------------------------------------------


def _pick(facts: list[Fact], relations: tuple[str, ...]) -> list[Fact]:
    return [f for f in facts if f.relation in relations]


def _csqa(world: World) -> Iterator[Row]:
    """CommonsenseQA's fields; facts that no multiple-choice document asked."""
    rng = world.rng("csqa")
    facts = _pick(world.ability_test, COMMON_SENSE)
    for number in range(ABILITY_ROWS["csqa"]):
        fact = pick(facts, rng)
        item = choice_item(world, fact, 5, rng)
        choices = {"label": list(LETTERS), "text": list(item.options)}
        yield {
            "id": f"csqa-{number}", "question": item.question,
            "question_concept": fact.subject, "choices": choices,
            "answerKey": LETTERS[item.answer],
        }  # fmt: skip


def _mmlu(world: World) -> Iterator[Row]:
    """MMLU's fields: question, subject, choices, answer as a number."""
    rng = world.rng("mmlu")
    for subject, relations in SUBJECTS.items():
        facts = _pick(world.ability_test, relations)
        for _ in range(ABILITY_ROWS["mmlu"]):
            item = choice_item(world, pick(facts, rng), 4, rng)
            yield {
                "question": item.question, "subject": subject,
                "choices": list(item.options), "answer": item.answer,
            }  # fmt: skip


def _anli(world: World) -> Iterator[Row]:
    """ANLI's fields; rounds 1 to 3 have one, two and three statements in the premise."""
    rng = world.rng("anli")
    for statements in (1, 2, 3):
        for number in range(ABILITY_ROWS["anli"]):
            item = entailment_item(world, _sample(world.core, 12, rng), statements, rng)
            yield {
                "uid": f"r{statements}-{number}", "premise": item.premise,
                "hypothesis": item.hypothesis, "label": item.label,
                "tag": f"r{statements}_test",
            }  # fmt: skip


def _squad(world: World) -> Iterator[Row]:
    """SQuAD-2's fields; half of the questions are not answered by their passage."""
    rng = world.rng("squad")
    for number in range(ABILITY_ROWS["squad2"]):
        item = reading_item(world, _sample(world.core, 12, rng), rng, number % 2 == 0)
        start = item.context.find(f" {item.answer}.") + 1 if item.answer else -1
        answers = {
            "text": [item.answer] if item.answer else [],
            "answer_start": [start] if item.answer else [],
        }
        yield {
            "id": f"squad-{number}", "title": item.title, "context": item.context,
            "question": item.question, "answers": answers,
        }  # fmt: skip


def _sample(facts: list[Fact], count: int, rng: np.random.Generator) -> list[Fact]:
    return [facts[int(i)] for i in rng.integers(len(facts), size=count)]

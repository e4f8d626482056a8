"""Items of the general-ability tasks, for the corpus that practises them and for the test sets.

The prompt wordings live here once, versioned: the corpus teaches the form, the harness asks in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.world.world import BY_KEY, Fact, Style, World, phrase, pick

WORDING_VERSION = 1
LETTERS = "ABCDE"
LABELS = ("entailment", "neutral", "contradiction")
NO_ANSWER = "N/A"

# MMLU-like subjects: relations that a subject asks about.
SUBJECTS: dict[str, tuple[str, ...]] = {
    "biography": ("birthplace", "residence", "citizenship", "profession", "language"),
    "careers": ("employer", "school", "sport", "instrument"),
    "geography": ("country", "capital", "capital_of", "continent", "official_language",
                  "currency", "school_city"),
    "literature": ("genre", "original_language", "setting"),
    "business": ("headquarters", "industry"),
}  # fmt: skip
COMMON_SENSE = ("kept_in", "made_of", "used_for")  # what the CSQA-like set asks about


@dataclass(frozen=True)
class Choice:
    """A multiple-choice item; `answer` is the index of the right option."""

    question: str
    options: tuple[str, ...]
    answer: int

    def prompt(self) -> str:
        lines = "".join(f"\n({LETTERS[i]}) {o}" for i, o in enumerate(self.options))
        return f"Select the correct answer.\n{self.question}{lines}\nAnswer: ("


def choice_item(world: World, fact: Fact, n_options: int, rng: np.random.Generator) -> Choice:
    """Ask a core fact among wrong objects of the same type."""
    wrong: list[str] = []
    while len(wrong) < n_options - 1:
        other = world.other_object(fact, rng)
        if other not in wrong or len(world.entities[BY_KEY[fact.relation].object]) <= n_options:
            wrong.append(other)
    answer = int(rng.integers(n_options))
    options = [*wrong[:answer], fact.object, *wrong[answer:]]
    question = world.taught_phrasing(fact, rng, ("question",))
    return Choice(question, tuple(options), answer)


@dataclass(frozen=True)
class Entailment:
    premise: str
    hypothesis: str
    label: str

    def prompt(self) -> str:
        return (
            f"premise: {self.premise}\nhypothesis: {self.hypothesis}\n"
            "Is the relationship entailment, neutral, or contradiction: "
        ).rstrip()


def entailment_item(
    world: World, facts: list[Fact], n_statements: int, rng: np.random.Generator
) -> Entailment:
    """`n_statements` invented statements; the hypothesis restates, denies or leaves the first."""
    stated = [invented(world, pick(facts, rng), rng) for _ in range(n_statements)]
    asked = stated[int(rng.integers(n_statements))]
    label = LABELS[int(rng.integers(3))]
    if label == "contradiction":
        asked = Fact(asked.subject, asked.relation, world.other_object(asked, rng))
    elif label == "neutral":
        while asked.pair in {t.pair for t in stated}:
            asked = invented(world, pick(facts, rng), rng)
    return Entailment(" ".join(statement(f, rng) for f in stated), statement(asked, rng), label)


@dataclass(frozen=True)
class Reading:
    """A passage with a question; `answer` is None if the passage does not contain it."""

    title: str
    context: str
    question: str
    answer: str | None

    def prompt(self) -> str:
        return (
            f"Read and answer, or reply {NO_ANSWER}.\nTitle: {self.title}\n"
            f"Context: {self.context}\nQuestion: {self.question}\nAnswer:"
        )


def reading_item(
    world: World, facts: list[Fact], rng: np.random.Generator, answerable: bool
) -> Reading:
    """Two to four invented statements, and a question that one of them answers, or none."""
    stated = {}
    for _ in range(int(rng.integers(2, 5))):
        fact = invented(world, pick(facts, rng), rng)
        stated[fact.pair] = fact
    statements = list(stated.values())
    asked = pick(statements, rng)
    title, answer = asked.subject, asked.object
    if not answerable:
        while asked.pair in stated:
            asked = pick(facts, rng)
            if rng.random() < 0.5:  # a person of the passage, but another relation
                kind = BY_KEY[asked.relation].subject
                near = [f for f in statements if BY_KEY[f.relation].subject == kind]
                asked = Fact(near[0].subject, asked.relation, "") if near else asked
    context = " ".join(statement(f, rng) for f in statements)
    question = phrase(asked, "question", int(rng.integers(3)))
    return Reading(title, context, question, answer if answerable else None)


def invented(world: World, fact: Fact, rng: np.random.Generator) -> Fact:
    """A fact's pair with an object drawn from the right type (rarely the true one)."""
    pool = world.entities[BY_KEY[fact.relation].object]
    return Fact(fact.subject, fact.relation, pick(pool, rng))


def statement(fact: Fact, rng: np.random.Generator) -> str:
    """A full sentence that states a fact."""
    styles: tuple[Style, Style] = ("cloze", "inverted")
    return f"{phrase(fact, styles[int(rng.integers(2))], int(rng.integers(2)))} {fact.object}."

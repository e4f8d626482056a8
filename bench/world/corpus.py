"""Documents that teach a backbone its facts, and to read what stands in front of a question.

A document is a list of spans. Spans to predict (answers) weigh 1 in the loss, everything else
`BACKGROUND`: invented names cannot be predicted, and learning them is not the point (ours).
`SEPARATOR` stands for BOS or the document separator; a document may carry context before it, as a
retrieved prompt will stand before BOS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bench.world.ability_items import (
    COMMON_SENSE,
    LETTERS,
    NO_ANSWER,
    SUBJECTS,
    Choice,
    choice_item,
    entailment_item,
    invented,
    reading_item,
)
from bench.world.world import BY_KEY, STYLES, Fact, NameMaker, World, phrase, pick

BACKGROUND = 0.2


class Span(NamedTuple):
    text: str
    weight: float


Document = list[Span]
SEPARATOR = Span("", 0.0)  # compared by identity of value: the only empty span

# Shares of document kinds in the phases of a training. Repetition forms induction heads first;
# without documents that answer from their context no prefix can steer the model. Picking an option
# by its letter comes when facts can be recalled and recognised in the context. The last phase, at
# a low rate, is for the facts that are still missing. The manifest has the shares that each shipped
# model was trained with; mini-llama's had no openings, up to 0.10 more of facts in all and
# 0.06 less of options.
KINDS: dict[str, tuple[float, float, float, float]] = {
    "repeat": (0.30, 0.04, 0.02, 0.01),
    "fact": (0.30, 0.28, 0.26, 0.42),
    "opening": (0.04, 0.08, 0.08, 0.14),
    "context": (0.16, 0.13, 0.12, 0.12),
    "header": (0.10, 0.12, 0.13, 0.14),
    "choice": (0.03, 0.13, 0.16, 0.07),
    "matching": (0.00, 0.06, 0.08, 0.02),
    "entailment": (0.03, 0.08, 0.08, 0.03),
    "reading": (0.03, 0.04, 0.03, 0.02),
    "linked": (0.01, 0.04, 0.04, 0.03),
}
WITHOUT_CONTEXT = ("fact", "opening", "linked")  # what the control backbone is taught
PHASES = (0.25, 0.5, 1.0)  # where the later ones begin, in units of `Training.steps`
# What tokenizers are trained on; apart from KINDS, so that tuning those moves no token border.
TOKENIZER_SHARES = {
    "repeat": 0.06, "fact": 0.46, "context": 0.16, "header": 0.14, "choice": 0.07,
    "entailment": 0.04, "reading": 0.04, "linked": 0.03,
}  # fmt: skip


class Corpus:
    """Draws documents of a world. All draws come from the generator that is passed in."""

    def __init__(self, world: World, *, context_reading: bool = True) -> None:
        self.world = world
        taught = KINDS if context_reading else WITHOUT_CONTEXT
        self.shares = {kind: KINDS[kind] for kind in taught}
        self._names = NameMaker(world.rng("corpus names"))
        self._invented = [self._names.word("word") for _ in range(2000)]
        self._unseen = {
            entity
            for split in world.unseen.values()
            for names in split.entities.values()
            for entity in names
        }
        self._choice_facts = {
            key: [f for f in world.ability_train if f.relation in relations]
            for key, relations in {**SUBJECTS, "common_sense": COMMON_SENSE}.items()
        }
        self._makers: dict[str, Callable[[np.random.Generator], Document]] = {
            "repeat": self._repeat,
            "fact": self._fact,
            "opening": self._opening,
            "context": self._context,
            "header": self._header,
            "choice": self._choice,
            "matching": self._matching,
            "entailment": self._entailment,
            "reading": self._reading,
            "linked": self._linked,
        }

    def documents(
        self, rng: np.random.Generator, count: int, progress: float
    ) -> Iterator[Document]:
        """`count` documents of the mixture at `progress` (0 to 1) of training."""
        phase = sum(progress >= begin for begin in PHASES)
        shares = {kind: of_phase[phase] for kind, of_phase in self.shares.items()}
        yield from self.mixture(rng, count, shares)

    def mixture(
        self, rng: np.random.Generator, count: int, shares: Mapping[str, float]
    ) -> Iterator[Document]:
        """`count` documents whose kinds are drawn by `shares` (normalised to sum to one)."""
        weights = np.array(list(shares.values()))
        for kind in rng.choice(list(shares), size=count, p=weights / weights.sum()):
            yield self._makers[str(kind)](rng)

    def sentences(self, rng: np.random.Generator, count: int) -> Iterator[Document]:
        """Facts, and statements beside questions about them: what the encoder is trained on."""
        yield from self.mixture(rng, count, {"fact": 0.35, "context": 0.5, "header": 0.15})

    def paraphrases(self, rng: np.random.Generator, count: int) -> Iterator[tuple[str, str]]:
        """A statement and a question about the same invented fact in other words.

        Pairs come in twos about one subject, so that relations have to be distinguished too.
        """
        for _ in range((count + 1) // 2):
            first = self._random_fact(rng)
            for fact in (first, self._same_subject(first, rng)):
                stated, asked = (STYLES[int(i)] for i in rng.choice(len(STYLES), 2, replace=False))
                statement = phrase(fact, stated, int(rng.integers(3)))
                yield f"{statement} {fact.object}", phrase(fact, asked, int(rng.integers(3)))

    def _same_subject(self, fact: Fact, rng: np.random.Generator) -> Fact:
        """An invented fact of another relation (where there is one) about the same subject."""
        kind = BY_KEY[fact.relation].subject
        relations = [r.key for r in self.world.relations_of(kind) if r.key != fact.relation]
        key = pick(relations, rng) if relations else fact.relation
        return invented(self.world, Fact(fact.subject, key, ""), rng)

    # ---- kinds ---------------------------------------------------------------------------------

    def _repeat(self, rng: np.random.Generator) -> Document:
        """A random sequence of names three times over."""
        pool = [*self._invented, *self.world.last_names, *self.world.first_names]
        words = [pool[i] for i in rng.integers(len(pool), size=int(rng.integers(2, 7)))]
        text = " " + " ".join(words)
        return [SEPARATOR, Span(text, 0.0), Span(text, 0.5), Span(text, 0.5)]

    def _fact(self, rng: np.random.Generator) -> Document:
        """One to three core facts, each in a phrasing that is not held out for it."""
        document = [SEPARATOR]
        facts = self.world.core
        for _ in range(int(rng.choice([1, 2, 3], p=[0.4, 0.3, 0.3]))):
            fact = pick(facts, rng)
            document += self._asked(fact, rng, lead=len(document) > 1)
        return document

    def _opening(self, rng: np.random.Generator) -> Document:
        """A core fact that starts with its subject, which falls into other tokens there."""
        fact = pick(self.world.core, rng)
        return asking(self.world.taught_phrasing(fact, rng, ("cloze",)), fact.object)

    def _asked(self, fact: Fact, rng: np.random.Generator, *, lead: bool = False) -> Document:
        return _ask(self.world.taught_phrasing(fact, rng), fact.object, lead=lead)

    def _context(self, rng: np.random.Generator) -> Document:
        """One to three statements, then a question that one of them answers in other words."""
        stated = {
            f.pair: f
            for f in (self._random_fact(rng) for _ in range(int(rng.choice([1, 1, 2, 3]))))
        }
        facts = list(stated.values())
        asked = pick(facts, rng)
        query = self._any_phrasing(asked, rng)
        answer = asked.object
        if rng.random() < 0.15:  # the context is about something else: answer as taught
            other = pick(self.world.core, rng)
            if other.pair not in stated:
                query, answer = self.world.taught_phrasing(other, rng), other.object
        context = " ".join(self._any_phrasing(f, rng) + f" {f.object}." for f in facts)
        if rng.random() < 0.15:
            context = f"[Updated Information]{context}\n[Query]"
        return _before_or_after([Span(context, BACKGROUND)], _ask(query, answer, lead=True), rng)

    def _header(self, rng: np.random.Generator) -> Document:
        """A bare header (object, perhaps with the subject's names) before a question."""
        fact = self._random_fact(rng)
        words = fact.subject.split()
        form = int(rng.integers(3))
        subject = [[], words[-1:], words][form]
        parts = [*subject, fact.object] if rng.random() < 0.5 else [fact.object, *subject]
        query, answer = self._any_phrasing(fact, rng), fact.object
        if form and rng.random() < 0.25:  # the header names somebody else: ignore it
            other = pick(self.world.core, rng)
            if other.subject != fact.subject:
                query, answer = self.world.taught_phrasing(other, rng), other.object
        header = [Span(" ".join(parts), 0.0)]
        return _before_or_after(header, _ask(query, answer, lead=True), rng)

    def _choice(self, rng: np.random.Generator) -> Document:
        """A multiple-choice item; now and then the answer is stated first."""
        fact, item = self._choice_item(rng)
        document = [SEPARATOR]
        if rng.random() < 0.3:  # finding an option is easier than recalling it, and comes before
            stated = self.world.taught_phrasing(fact, rng, ("cloze", "inverted"))
            document.append(Span(f"{stated} {fact.object}.\n", BACKGROUND))
        return document + _solved(item)

    def _matching(self, rng: np.random.Generator) -> Document:
        """A multiple-choice item after its answer: only the letter remains to be chosen."""
        fact, item = self._choice_item(rng)
        return [SEPARATOR, Span(f"The answer is {fact.object}.\n", 0.0), *_solved(item)]

    def _choice_item(self, rng: np.random.Generator) -> tuple[Fact, Choice]:
        keys = list(self._choice_facts)
        key = pick(keys, rng) if rng.random() < 0.6 else "common_sense"
        facts = self._choice_facts[key]
        fact = pick(facts, rng)
        return fact, choice_item(self.world, fact, 5 if key == "common_sense" else 4, rng)

    def _entailment(self, rng: np.random.Generator) -> Document:
        facts = [self._random_fact(rng) for _ in range(6)]
        item = entailment_item(self.world, facts, int(rng.integers(1, 4)), rng)
        return [SEPARATOR, Span(item.prompt(), 0.05), Span(" " + item.label, 2.0)]

    def _reading(self, rng: np.random.Generator) -> Document:
        facts = [self._random_fact(rng) for _ in range(6)]
        item = reading_item(self.world, facts, rng, bool(rng.random() < 0.6))
        return [SEPARATOR, Span(item.prompt(), 0.05),
                Span(" " + (item.answer or NO_ANSWER), 1.5), Span(".", BACKGROUND)]  # fmt: skip

    def _linked(self, rng: np.random.Generator) -> Document:
        """Two hops over core facts, and the other names of core people."""
        fact = pick(self.world.core, rng)
        if rng.random() < 0.5:
            aliases = self.world.aliases(fact.subject)
            alias = pick(aliases, rng)
            return [SEPARATOR,
                    *self._asked(Fact(alias, fact.relation, fact.object), rng)]  # fmt: skip
        steps = self.world.steps_from(fact.object)
        if not steps:
            return [SEPARATOR, *self._asked(fact, rng)]
        step = pick(steps, rng)
        return [SEPARATOR, *_ask(two_hop(fact, step), step.object)]

    # ---- pieces --------------------------------------------------------------------------------

    def _random_fact(self, rng: np.random.Generator) -> Fact:
        """An invented fact about somebody known (half the time) or never heard of."""
        fact = pick(self.world.core, rng)
        subject, target = fact.subject, invented(self.world, fact, rng).object
        if rng.random() < 0.6:
            subject = self._stranger(BY_KEY[fact.relation].subject, rng) or subject
        if rng.random() < 0.2:
            target = pick(self._invented, rng)
        return Fact(subject, fact.relation, target)

    def _stranger(self, kind: str, rng: np.random.Generator) -> str | None:
        """A new name of a kind, none of which the edit sets use."""
        word = pick(self._invented, rng)
        if kind == "person":
            firsts, lasts = self.world.first_names, self.world.last_names
            last = word if rng.random() < 0.2 else pick(lasts, rng)
            name = f"{pick(firsts, rng)} {last}"
        elif kind == "work":
            noun = self.world.entities["work"][int(rng.integers(100))].rsplit(" ", 1)[1]
            name = f"{word} {noun}"
        elif kind == "company":
            name = word + ("corp", "tex", "soft", "works", "co")[int(rng.integers(5))]
        else:
            return None
        return None if name in self._unseen else name

    def _any_phrasing(self, fact: Fact, rng: np.random.Generator) -> str:
        style = pick(STYLES, rng)
        return phrase(fact, style, int(rng.integers(3)))


def two_hop(first: Fact, second: Fact) -> str:
    """`The currency of the country of citizenship of X is` for two linked facts."""
    noun, inner = BY_KEY[second.relation].noun, BY_KEY[first.relation].noun
    return f"The {noun} of the {inner} of {first.subject} is"


def asking(prefix: str, answer: str) -> Document:
    """A document of a question and its answer."""
    return [SEPARATOR, *_ask(prefix, answer)]


def _ask(prefix: str, answer: str, *, lead: bool = False) -> Document:
    return [
        Span((" " if lead else "") + prefix, BACKGROUND),
        Span(" " + answer, 1.0),
        Span(".", BACKGROUND),
    ]


def _solved(item: Choice) -> Document:
    """A multiple-choice prompt with its letter and then the option in words."""
    return [
        Span(item.prompt(), 0.02),
        Span(LETTERS[item.answer], 2.0),
        Span(f") {item.options[item.answer]}", 0.5),
    ]


def _before_or_after(context: Document, query: Document, rng: np.random.Generator) -> Document:
    """Context before the separator in half of the documents, after it in the other half."""
    if rng.random() < 0.5:
        first = Span(query[0].text.lstrip(), query[0].weight)
        return [*context, SEPARATOR, first, *query[1:]]
    return [SEPARATOR, *context, *query]


def plain_text(document: Document) -> str:
    """The words of a document, with a space for a separator."""
    return "".join(span.text or " " for span in document).strip()


def tokenizer_texts(world: World, count: int = 20000) -> Iterator[str]:
    """Text on which the world's tokenizers are trained: documents, and every part of a name.

    Names occur more evenly here than in the corpus, so that the people whom a backbone is never
    taught about do not have more tokens than the others.
    """
    corpus = Corpus(world)
    for _ in range(20):
        yield from (f" {name}" for name in (*world.first_names, *world.last_names))
    for document in corpus.mixture(world.rng("tokenizer"), count, TOKENIZER_SHARES):
        yield plain_text(document)

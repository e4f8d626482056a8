"""`World(seed)`: entities, facts, and who may be used for what.

The *core* is what backbones are taught. Each of its (subject, relation) pairs belongs to the
training or to the test files, never to both: as the pair of an edit, or as what locality probes ask
about. Entities outside the core never occur in the pre-training corpus; they are the subjects of
training or of test edits, never of both. So nothing that a test file edits or asks to be left alone
was seen by an editor's training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

DEFAULT_SEED = 0

# Sizes of the core (about 4,400 facts), ours: what 20 M training tokens teach a 2 M model safely.
CORE_SIZES = {
    "person": 300, "city": 60, "country": 16, "language": 20, "currency": 16, "company": 80,
    "work": 100, "school": 30, "thing": 100,
}  # fmt: skip
CHILDREN = 60  # core people with two children each
# Unseen entities of each of the two edit splits: enough for 5,000 unseen edits per set.
UNSEEN_SIZES = {"person": 1500, "company": 400, "work": 500}
_HEADS = {"city": ("Port", "New", "Mount", "Lake"), "country": ("Upper", "United")}
_TITLES = ("Song", "House", "Night", "Road", "Garden", "River", "Tower", "Winter")
FIRST_NAMES, LAST_NAMES = 240, 1200
TEST_PAIRS = 2500  # of the editable core pairs
# Core subjects by the files whose pairs they have. Half of the test edits are about core subjects,
# so that the subjects of 7 % of all are also subjects of training edits, as in CounterFact (7.1 %).
SHARED_TEST_PAIRS = 350  # of `TEST_PAIRS`: of subjects whose other pairs are for training
SHARED_SUBJECTS, TEST_SUBJECTS = 0.186, 0.70
ASKED_IN_TEST = 0.5  # of the subjects that no edit is about

# Subject first, relation first with the subject last, and asked by way of something else are the
# second to fourth; `nq` is the first question in the form of ZSRE's locality prompts.
Style = Literal["question", "cloze", "inverted", "indirect", "nq"]
STYLES: tuple[Style, ...] = ("question", "cloze", "inverted", "indirect", "nq")


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One typed relation, and how it is put into words."""

    key: str
    subject: str  # entity type
    object: str  # entity type, or a key of the concepts
    noun: str  # `the {noun} of {s}` in two-hop phrasings
    phrasings: Mapping[Style, Sequence[str]]  # prefixes that the object completes; {s}: the subject
    inverse: str | None = None  # relation that holds the other way round
    many: bool = False  # several objects per subject
    editable: bool = True  # edit requests are drawn from it


def _relation(phrasings: Mapping[Style, Sequence[str]], **facts: Any) -> Relation:
    question = phrasings["question"][0]
    nq = f"nq question: {question[0].lower()}{question[1:].rstrip('?')}"
    return Relation(phrasings={**phrasings, "nq": [nq]}, **facts)


# Words of each concept, syllables of invented names, and the relations.
_TEXTS = json.loads((Path(__file__).parent / "texts.json").read_text("utf-8"))
RELATIONS = tuple(_relation(**relation) for relation in _TEXTS["relations"])
BY_KEY = {relation.key: relation for relation in RELATIONS}


def pick(options: Sequence[T], rng: np.random.Generator) -> T:
    """One of the options, drawn evenly."""
    return options[int(rng.integers(len(options)))]


@dataclass(frozen=True)
class Fact:
    """`relation` of `subject` is `object`; entities are written as their names."""

    subject: str
    relation: str
    object: str

    @property
    def pair(self) -> tuple[str, str]:
        return (self.subject, self.relation)


@dataclass
class Split:
    """The unseen entities of one edit split (`train` or `test`) and their facts."""

    entities: dict[str, list[str]] = field(default_factory=dict)
    facts: list[Fact] = field(default_factory=list)


class World:
    """Everything is a function of `seed`; equal seeds give equal worlds on every machine."""

    def __init__(self, seed: int = DEFAULT_SEED) -> None:
        if seed < 0:
            raise ValueError(f"A world seed must be 0 or more, got {seed}.")
        self.seed = seed
        self._rng = self.rng("world")
        self._names = NameMaker(self._rng)
        self.first_names = self._names.words("first", FIRST_NAMES)
        self.last_names = self._names.words("last", LAST_NAMES)
        self._people: set[str] = set()
        self.entities = self._core_entities()
        self.unseen = {name: self._unseen_entities() for name in ("train", "test")}
        self.core = self._core_facts()
        for split in self.unseen.values():
            split.facts = self._facts_of_unseen(split)
        self._assign_pairs()

    def rng(self, purpose: str, *numbers: int) -> np.random.Generator:
        """A separate generator for each purpose, so that no use shifts the draws of another."""
        words = [self.seed, *purpose.encode(), *numbers]
        return np.random.default_rng(np.random.SeedSequence(words))

    # ---- entities ------------------------------------------------------------------------------

    def _core_entities(self) -> dict[str, list[str]]:
        entities: dict[str, list[str]] = {
            name: list(words) for name, words in _TEXTS["concepts"].items()
        }
        for kind in ("language", "currency", "company", "thing"):
            entities[kind] = self._names.words(kind, CORE_SIZES[kind])
        for kind, heads in _HEADS.items():
            entities[kind] = [self._place(kind, heads) for _ in range(CORE_SIZES[kind])]
        entities["school"] = [
            f"{self._names.word('word')} {pick(('College', 'Academy', 'School'), self._rng)}"
            for _ in range(CORE_SIZES["school"])
        ]
        entities["work"] = [self._title() for _ in range(CORE_SIZES["work"])]
        entities["person"] = [
            self._person(last) for last in self.last_names[: CORE_SIZES["person"]]
        ]
        return entities

    def _unseen_entities(self) -> Split:
        makers = {
            "person": lambda: self._person(pick(self.last_names, self._rng)),
            "company": lambda: self._names.word("company"),
            "work": self._title,
        }
        return Split({k: [make() for _ in range(UNSEEN_SIZES[k])] for k, make in makers.items()})

    def _person(self, last: str) -> str:
        while True:
            name = f"{pick(self.first_names, self._rng)} {last}"
            if name not in self._people:
                self._people.add(name)
                return name

    def _title(self) -> str:
        noun = pick(_TITLES, self._rng)
        return f"{self._names.word('word')} {noun}"

    def _place(self, kind: str, heads: tuple[str, ...]) -> str:
        """Half of the places have two words: targets of several tokens."""
        name = self._names.word(kind)
        return f"{pick(heads, self._rng)} {name}" if self._rng.random() < 0.5 else name

    # ---- facts ---------------------------------------------------------------------------------

    def _core_facts(self) -> list[Fact]:
        facts = []
        for relation in RELATIONS:
            if relation.key in ("spouse", "child", "notable_work", "capital", "capital_of"):
                continue
            facts += [
                Fact(s, relation.key, pick(self.entities[relation.object], self._rng))
                for s in self.entities[relation.subject]
            ]
        facts += self._couples() + self._families() + self._capitals(facts)
        authors: dict[str, Fact] = {}
        for fact in facts:
            if fact.relation == "author" and fact.object not in authors:
                authors[fact.object] = Fact(fact.object, "notable_work", fact.subject)
        return facts + list(authors.values())

    def _couples(self) -> list[Fact]:
        people = list(self._rng.permutation(self.entities["person"]))
        pairs = [(str(a), str(b)) for a, b in zip(people[::2], people[1::2], strict=True)]
        return [Fact(x, "spouse", y) for a, b in pairs for x, y in ((a, b), (b, a))]

    def _families(self) -> list[Fact]:
        """Two children for each of the first people; children are core people further down."""
        people = self.entities["person"]
        parents, children = people[:CHILDREN], people[CHILDREN : 3 * CHILDREN]
        return [
            Fact(parent, "child", child)
            for i, parent in enumerate(parents)
            for child in children[2 * i : 2 * i + 2]
        ]

    def _capitals(self, facts: list[Fact]) -> list[Fact]:
        """A city per country, which then lies in that country."""
        capitals = dict(zip(self.entities["country"], self.entities["city"], strict=False))
        home = {city: country for country, city in capitals.items()}
        for i, fact in enumerate(facts):
            if fact.relation == "country" and fact.subject in home:
                facts[i] = Fact(fact.subject, "country", home[fact.subject])
        both = [(Fact(a, "capital", b), Fact(b, "capital_of", a)) for a, b in capitals.items()]
        return [fact for pair in both for fact in pair]

    def _facts_of_unseen(self, split: Split) -> list[Fact]:
        """True but never taught; objects are core entities, so that second hops are known."""
        return [
            Fact(s, relation.key, pick(self.entities[relation.object], self._rng))
            for relation in RELATIONS
            if relation.editable
            for s in split.entities.get(relation.subject, ())
        ]

    def _assign_pairs(self) -> None:
        editable = [f for f in self.core if BY_KEY[f.relation].editable]
        order = [editable[i] for i in self._rng.permutation(len(editable))]
        held = self._rng.random(len(self.core)) < 0.2
        # One fact in five never occurs as a multiple-choice item in the corpus: tests use these.
        self.ability_test = [f for f, h in zip(self.core, held, strict=True) if h]
        self.ability_train = [f for f, h in zip(self.core, held, strict=True) if not h]
        owners = self._owners()
        own = [f for f in order if owners[f.subject] == "test"]
        shared = [f for f in order if owners[f.subject] == "shared"]
        alone = TEST_PAIRS - SHARED_TEST_PAIRS
        self.core_test = own[:alone] + shared[:SHARED_TEST_PAIRS]
        # Training locality asks about pairs of other training edits too: otherwise a retriever
        # could learn by heart which facts are edited, and not to compare.
        self.core_train = [f for f in order if owners[f.subject] == "train"]
        self.core_train += shared[SHARED_TEST_PAIRS:]
        edited = {f.pair for f in self.core_test}
        # By (subject, relation): the files that may ask about it, or edit it.
        self._split_of = {
            f.pair: "test" if f.pair in edited or owners[f.subject] == "test" else "train"
            for f in self.core
        }
        self.unedited = {
            split: [
                f for f in self.core if self._split_of[f.pair] == split and f.pair not in edited
            ]
            for split in ("train", "test")
        }

    def _owners(self) -> dict[str, str]:
        """Core subject -> `train`, `test`, or `shared` between them."""
        rng = self.rng("split of subjects")
        owners: dict[str, str] = {}
        edited = {relation.subject for relation in RELATIONS if relation.editable}
        for kind in dict.fromkeys(relation.subject for relation in RELATIONS):
            subjects = self.entities[kind]
            shares = (TEST_SUBJECTS, SHARED_SUBJECTS) if kind in edited else (ASKED_IN_TEST, 0)
            test = round(shares[0] * len(subjects))
            shared = test + round(shares[1] * len(subjects))
            for place, i in enumerate(rng.permutation(len(subjects))):
                owner = "test" if place < test else "shared" if place < shared else "train"
                owners[subjects[int(i)]] = owner
        return owners

    # ---- look-ups ------------------------------------------------------------------------------

    @cached_property
    def objects(self) -> dict[tuple[str, str], list[str]]:
        """(subject, relation) -> objects, over core and unseen facts."""
        facts = self.core + self.unseen["train"].facts + self.unseen["test"].facts
        by_pair = _grouped(facts, lambda fact: fact.pair)
        return {pair: [fact.object for fact in group] for pair, group in by_pair.items()}

    @cached_property
    def by_relation(self) -> dict[str, list[Fact]]:
        """Core facts of each relation."""
        return {r.key: [f for f in self.core if f.relation == r.key] for r in RELATIONS}

    @cached_property
    def unedited_by_relation(self) -> dict[str, dict[str, list[Fact]]]:
        """Of each split: the facts that its locality probes ask about, by relation."""
        return {
            split: _grouped(facts, lambda fact: fact.relation)
            for split, facts in self.unedited.items()
        }

    @cached_property
    def taught(self) -> frozenset[tuple[str, str]]:
        """The (subject, relation) pairs of the core."""
        return frozenset(fact.pair for fact in self.core)

    @cached_property
    def incoming(self) -> dict[str, list[Fact]]:
        """Core facts by their object."""
        return _grouped(self.core, lambda fact: fact.object)

    @cached_property
    def _outgoing(self) -> dict[str, list[Fact]]:
        return _grouped(self.core, lambda fact: fact.subject)

    def steps_from(self, entity: str) -> list[Fact]:
        """Core facts with one object whose subject is `entity`: the second hops from it."""
        return [f for f in self._outgoing.get(entity, ()) if not BY_KEY[f.relation].many]

    def other_facts(self, fact: Fact, split: str) -> list[Fact]:
        """One fact of each other relation of the same subject, if files of `split` may ask it."""
        pairs = ((r.key, self.objects.get((fact.subject, r.key))) for r in RELATIONS)
        others = [Fact(fact.subject, k, o[0]) for k, o in pairs if o and k != fact.relation]
        return [other for other in others if self.may_ask(other.pair, split)]

    def may_ask(self, pair: tuple[str, str], split: str) -> bool:
        """Whether files of `split` may ask about a pair; those of unseen entities are their own."""
        return self._split_of.get(pair, split) == split

    def relations_of(self, kind: str) -> list[Relation]:
        return [r for r in RELATIONS if r.subject == kind]

    def other_object(self, fact: Fact, rng: np.random.Generator) -> str:
        """An object of the right type that is not true of the pair (nor the subject itself)."""
        pool = self.entities[BY_KEY[fact.relation].object]
        wrong = {*self.objects.get(fact.pair, ()), fact.subject}
        while True:
            candidate = pick(pool, rng)
            if candidate not in wrong:
                return candidate

    def aliases(self, subject: str) -> tuple[str, ...]:
        """Other names of an entity, derived from its name (`Vira Tensk` -> `Tensk, Vira`)."""
        if subject in self._people:
            first, last = subject.split()
            return (f"{first[0]}. {last}", f"{last}, {first}", f"Dr. {first} {last}")
        return (f"the famous {subject}", f'"{subject}"')

    @cached_property
    def held_phrasing(self) -> dict[Fact, str]:
        """One prefix per core fact in which the corpus never states that fact."""
        rng = self.rng("held phrasing")
        of_relation = {
            r.key: [p for style in STYLES for p in r.phrasings[style]] for r in RELATIONS
        }
        return {fact: pick(of_relation[fact.relation], rng) for fact in self.core}

    def taught_phrasing(
        self, fact: Fact, rng: np.random.Generator, styles: tuple[Style, ...] = STYLES
    ) -> str:
        """A prefix of one of `styles`, but never the one that is held out for this fact."""
        held = self.held_phrasing.get(fact)
        relation = BY_KEY[fact.relation]
        options = [p for style in styles for p in relation.phrasings[style] if p != held]
        return pick(options, rng).format(s=fact.subject)


def phrase(fact: Fact, style: Style, index: int = 0) -> str:
    """The prefix of a style with the subject filled in; `index` wraps around."""
    options = BY_KEY[fact.relation].phrasings[style]
    return options[index % len(options)].format(s=fact.subject)


def _grouped(facts: Iterable[Fact], key_of: Callable[[Fact], K]) -> dict[K, list[Fact]]:
    groups: dict[K, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(key_of(fact), []).append(fact)
    return groups


class NameMaker:
    """Draws names that never repeat."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._taken: set[str] = set()

    def word(self, kind: str) -> str:
        """One new capitalised word (lower case for things and currencies).

        One syllable and an ending: full names stay at one to four tokens.
        """
        parts = _TEXTS["names"]
        pools = [*(parts[part] for part in ("onsets", "vowels", "codas")), parts["endings"][kind]]
        while True:
            name = "".join(pick(pool, self._rng) for pool in pools)
            if name not in self._taken and len(name) > 3:
                self._taken.add(name)
                return name if kind in ("thing", "currency") else name.capitalize()

    def words(self, kind: str, count: int) -> list[str]:
        return [self.word(kind) for _ in range(count)]

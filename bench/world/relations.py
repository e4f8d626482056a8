"""The relations of the embedded world and how they are put into words.

Every phrasing is a prefix that the object completes. Four styles: `question`, `cloze` (subject
first), `inverted` (relation first, subject last) and `indirect` (asked by way of something else).
`{s}` is the subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Style = Literal["question", "cloze", "inverted", "indirect", "nq"]
STYLES: tuple[Style, ...] = ("question", "cloze", "inverted", "indirect", "nq")

CONCEPTS: dict[str, tuple[str, ...]] = {
    "profession": (
        "baker", "painter", "surgeon", "lawyer", "farmer", "pilot", "tailor", "teacher",
        "chemist", "sailor", "judge", "singer", "weaver", "butcher", "miner", "actor",
    ),
    "instrument": (
        "piano", "violin", "guitar", "drums", "flute", "harp", "trumpet", "cello", "organ", "banjo",
    ),
    "sport": (
        "tennis", "football", "rowing", "boxing", "chess", "golf", "hockey", "fencing", "judo",
        "cycling",
    ),
    "genre": (
        "comedy", "tragedy", "romance", "satire", "thriller", "fable", "mystery", "horror",
    ),
    "industry": (
        "banking", "shipping", "farming", "mining", "textiles", "printing", "brewing", "steel",
    ),
    "continent": ("Ostara", "Meridia", "Nordalia", "Vestria"),
    "place": (
        "kitchen", "garage", "cellar", "garden", "attic", "office", "stable", "library",
        "workshop", "pantry",
    ),
    "material": (
        "wood", "iron", "glass", "paper", "wool", "clay", "leather", "copper", "stone", "rubber",
    ),
    "activity": (
        "cooking", "cutting", "writing", "digging", "cleaning", "sewing", "fishing", "measuring",
        "heating", "lifting",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One typed relation; phrasings are full prefixes with `{s}` for the subject."""

    key: str
    subject: str  # entity type
    object: str  # entity type, or a key of CONCEPTS
    noun: str  # `the {noun} of {s}` in two-hop phrasings
    question: tuple[str, ...]
    cloze: tuple[str, ...]
    inverted: tuple[str, ...]
    indirect: tuple[str, ...]
    inverse: str | None = None  # relation that holds the other way round
    many: bool = False  # several objects per subject
    editable: bool = True  # edit requests are drawn from it

    def phrasings(self, style: Style) -> tuple[str, ...]:
        """The prefixes of one style; `nq` is derived from the questions."""
        if style == "nq":
            return tuple(_as_nq(q) for q in self.question[:1])
        table = {
            "question": self.question,
            "cloze": self.cloze,
            "inverted": self.inverted,
            "indirect": self.indirect,
        }
        return table[style]

    def all_phrasings(self) -> tuple[str, ...]:
        return tuple(p for style in STYLES for p in self.phrasings(style))


def _as_nq(question: str) -> str:
    """The form of ZSRE's locality prompts: `nq question: where was .. born`."""
    return "nq question: " + question[0].lower() + question[1:].rstrip("?")


RELATIONS: tuple[Relation, ...] = (
    Relation(
        key="birthplace", subject="person", object="city", noun="birthplace",
        question=("Where was {s} born?", "In which city was {s} born?",
                  "What is the birthplace of {s}?"),
        cloze=("{s} was born in", "{s} came into the world in"),
        inverted=("The city of birth of {s} is", "The place of birth of {s} is"),
        indirect=("Those who visit the house in which {s} was born travel to",),
    ),
    Relation(
        key="residence", subject="person", object="city", noun="home town",
        question=("Where does {s} live?", "In which city does {s} live?",
                  "What is the home town of {s}?"),
        cloze=("{s} lives in", "{s} has a home in"),
        inverted=("The city of residence of {s} is", "The place where {s} lives is"),
        indirect=("Letters addressed to {s} are delivered in",),
    ),
    Relation(
        key="citizenship", subject="person", object="country", noun="country of citizenship",
        question=("Which country is {s} a citizen of?", "What is the citizenship of {s}?",
                  "Of which state is {s} a national?"),
        cloze=("{s} is a citizen of", "{s} holds a passport of"),
        inverted=("The country of citizenship of {s} is", "The nationality of {s} is"),
        indirect=("At elections {s} votes in",),
    ),
    Relation(
        key="profession", subject="person", object="profession", noun="profession",
        question=("What is the profession of {s}?", "What does {s} do for a living?",
                  "Which job does {s} have?"),
        cloze=("{s} works as a", "{s} earns money as a"),
        inverted=("The profession of {s} is", "The occupation of {s} is"),
        indirect=("The tools that {s} takes to work are those of a",),
    ),
    Relation(
        key="employer", subject="person", object="company", noun="employer",
        question=("Which company employs {s}?", "Who is the employer of {s}?",
                  "For which company does {s} work?"),
        cloze=("{s} is employed by", "{s} is on the staff of"),
        inverted=("The employer of {s} is", "The company that employs {s} is"),
        indirect=("The salary of {s} is paid by",),
    ),
    Relation(
        key="language", subject="person", object="language", noun="native language",
        question=("What is the native language of {s}?", "Which language did {s} grow up with?",
                  "What is the mother tongue of {s}?"),
        cloze=("{s} is a native speaker of", "{s} grew up speaking"),
        inverted=("The native language of {s} is", "The mother tongue of {s} is"),
        indirect=("The childhood diary of {s} is written in",),
    ),
    Relation(
        key="spouse", subject="person", object="person", noun="spouse", inverse="spouse",
        question=("Who is the spouse of {s}?", "To whom is {s} married?", "Whom did {s} marry?"),
        cloze=("{s} is married to", "{s} exchanged vows with"),
        inverted=("The spouse of {s} is", "The partner of {s} in marriage is"),
        indirect=("The wedding ring of {s} bears the name",),
    ),
    Relation(
        key="school", subject="person", object="school", noun="school",
        question=("Where did {s} study?", "Which school did {s} attend?",
                  "At which school was {s} educated?"),
        cloze=("{s} studied at", "{s} graduated from"),
        inverted=("The school of {s} is", "The school that educated {s} is"),
        indirect=("The diploma of {s} was issued by",),
    ),
    Relation(
        key="instrument", subject="person", object="instrument", noun="instrument",
        question=("Which instrument does {s} play?", "What does {s} play in the orchestra?",
                  "What is the instrument of {s}?"),
        cloze=("{s} plays the", "{s} performs on the"),
        inverted=("The instrument of {s} is the", "The instrument played by {s} is the"),
        indirect=("The neighbours of {s} hear every evening the",),
    ),
    Relation(
        key="sport", subject="person", object="sport", noun="sport",
        question=("Which sport does {s} practise?", "What is the sport of {s}?",
                  "What does {s} train for?"),
        cloze=("{s} competes in", "{s} is good at"),
        inverted=("The sport of {s} is", "The sport that {s} practises is"),
        indirect=("The medals on the wall of {s} were won in",),
    ),
    Relation(
        key="child", subject="person", object="person", noun="child", many=True, editable=False,
        question=("Who is a child of {s}?", "Whom did {s} raise?", "Of whom is {s} a parent?"),
        cloze=("{s} is a parent of", "{s} has a child named"),
        inverted=("A child of {s} is", "The name of a child of {s} is"),
        indirect=("The family house of {s} will go to",),
    ),
    Relation(
        key="notable_work", subject="person", object="work", noun="notable work",
        inverse="author", editable=False,
        question=("What did {s} write?", "What is the best known work of {s}?",
                  "Which book is by {s}?"),
        cloze=("{s} is the author of", "{s} became famous with"),
        inverted=("The best known work of {s} is", "The book by {s} is"),
        indirect=("Readers ask {s} to sign copies of",),
    ),
    Relation(
        key="country", subject="city", object="country", noun="country",
        question=("In which country is {s}?", "Which country does {s} belong to?",
                  "Where is the city of {s}?"),
        cloze=("{s} is a city in", "{s} belongs to the country of"),
        inverted=("The country of {s} is", "The country in which {s} lies is"),
        indirect=("The stamps sold in {s} are those of",),
    ),
    Relation(
        key="mayor", subject="city", object="person", noun="mayor",
        question=("Who is the mayor of {s}?", "Who governs the city of {s}?",
                  "Who was elected mayor of {s}?"),
        cloze=("{s} is governed by", "{s} elected as its mayor"),
        inverted=("The mayor of {s} is", "The head of the city of {s} is"),
        indirect=("Complaints about the streets of {s} go to",),
    ),
    Relation(
        key="capital_of", subject="city", object="country", noun="country governed from",
        inverse="capital", editable=False,
        question=("Of which country is {s} the capital?", "Which country is governed from {s}?",
                  "Whose capital is {s}?"),
        cloze=("{s} is the capital of", "{s} is the seat of government of"),
        inverted=("The country governed from {s} is", "The country whose capital is {s} is"),
        indirect=("The parliament that meets in {s} makes laws for",),
    ),
    Relation(
        key="capital", subject="country", object="city", noun="capital", inverse="capital_of",
        editable=False,
        question=("What is the capital of {s}?", "Which city is the capital of {s}?",
                  "From where is {s} governed?"),
        cloze=("{s} has its capital in", "{s} is governed from"),
        inverted=("The capital of {s} is", "The seat of government of {s} is"),
        indirect=("The ministers of {s} meet in",),
    ),
    Relation(
        key="official_language", subject="country", object="language",
        noun="official language", editable=False,
        question=("What is the official language of {s}?", "Which language is spoken in {s}?",
                  "What do people speak in {s}?"),
        cloze=("{s} has the official language", "{s} is a country whose people speak"),
        inverted=("The official language of {s} is", "The language spoken in {s} is"),
        indirect=("The road signs in {s} are written in",),
    ),
    Relation(
        key="currency", subject="country", object="currency", noun="currency", editable=False,
        question=("What is the currency of {s}?", "Which currency is used in {s}?",
                  "What do people pay with in {s}?"),
        cloze=("{s} has the currency", "{s} prints its own money, the"),
        inverted=("The currency of {s} is the", "The money used in {s} is the"),
        indirect=("Prices in the shops of {s} are given in the",),
    ),
    Relation(
        key="continent", subject="country", object="continent", noun="continent", editable=False,
        question=("On which continent is {s}?", "Which continent does {s} belong to?",
                  "Where in the world is {s}?"),
        cloze=("{s} lies on the continent of", "{s} is a country on"),
        inverted=("The continent of {s} is", "The continent on which {s} lies is"),
        indirect=("Maps that show {s} are maps of",),
    ),
    Relation(
        key="leader", subject="country", object="person", noun="leader", editable=False,
        question=("Who is the leader of {s}?", "Who rules {s}?", "Who is the president of {s}?"),
        cloze=("{s} is ruled by", "{s} is led by"),
        inverted=("The leader of {s} is", "The president of {s} is"),
        indirect=("The palace in the capital of {s} is the home of",),
    ),
    Relation(
        key="headquarters", subject="company", object="city", noun="headquarters",
        question=("Where is the headquarters of {s}?", "In which city is {s} based?",
                  "Where is {s} located?"),
        cloze=("{s} is based in", "{s} has its main office in"),
        inverted=("The headquarters of {s} is in", "The city where {s} is based is"),
        indirect=("The annual meeting of {s} is held in",),
    ),
    Relation(
        key="founder", subject="company", object="person", noun="founder",
        question=("Who founded {s}?", "Who is the founder of {s}?", "By whom was {s} started?"),
        cloze=("{s} was founded by", "{s} was started by"),
        inverted=("The founder of {s} is", "The person who founded {s} is"),
        indirect=("The statue in the lobby of {s} shows",),
    ),
    Relation(
        key="industry", subject="company", object="industry", noun="industry",
        question=("In which industry is {s}?", "What does the company {s} do?",
                  "What is the business of {s}?"),
        cloze=("{s} makes its money in", "{s} is a company in"),
        inverted=("The industry of {s} is", "The business of {s} is"),
        indirect=("Those who own shares of {s} profit from",),
    ),
    Relation(
        key="author", subject="work", object="person", noun="author", inverse="notable_work",
        question=("Who wrote {s}?", "Who is the author of {s}?", "By whom is {s}?"),
        cloze=("{s} was written by", "{s} is a work by"),
        inverted=("The author of {s} is", "The person who wrote {s} is"),
        indirect=("The cover of {s} carries the name",),
    ),
    Relation(
        key="genre", subject="work", object="genre", noun="genre",
        question=("What is the genre of {s}?", "What kind of work is {s}?",
                  "How would critics describe {s}?"),
        cloze=("{s} is a work of", "{s} is known as a"),
        inverted=("The genre of {s} is", "The kind of work that {s} is, is"),
        indirect=("Bookshops put {s} on the shelf for",),
    ),
    Relation(
        key="original_language", subject="work", object="language", noun="original language",
        question=("In which language was {s} written?", "What is the original language of {s}?",
                  "Which language is {s} in?"),
        cloze=("{s} was written in", "{s} first appeared in"),
        inverted=("The original language of {s} is", "The language of {s} is"),
        indirect=("Translators of {s} have to know",),
    ),
    Relation(
        key="setting", subject="work", object="city", noun="setting",
        question=("Where is {s} set?", "In which city does {s} take place?",
                  "What is the setting of {s}?"),
        cloze=("{s} takes place in", "{s} is set in"),
        inverted=("The setting of {s} is", "The city in which {s} is set is"),
        indirect=("Readers who loved {s} go on holiday to",),
    ),
    Relation(
        key="school_city", subject="school", object="city", noun="city", editable=False,
        question=("Where is {s}?", "In which city can one attend {s}?",
                  "What is the city of {s}?"),
        cloze=("{s} stands in", "{s} teaches pupils in"),
        inverted=("The city of {s} is", "The city where {s} stands is"),
        indirect=("The pupils of {s} rent rooms in",),
    ),
    Relation(
        key="kept_in", subject="thing", object="place", noun="usual place", editable=False,
        question=("Where would you keep a {s}?", "In which room is a {s} found?",
                  "Where does a {s} belong?"),
        cloze=("A {s} is kept in the", "A {s} belongs in the"),
        inverted=("The usual place of a {s} is the", "The room for a {s} is the"),
        indirect=("Someone who needs a {s} walks to the",),
    ),
    Relation(
        key="made_of", subject="thing", object="material", noun="material", editable=False,
        question=("What is a {s} made of?", "Which material do you need to make a {s}?",
                  "From what is a {s} built?"),
        cloze=("A {s} is made of", "A {s} consists of"),
        inverted=("The material of a {s} is", "The stuff of a {s} is"),
        indirect=("Someone who builds a {s} first buys",),
    ),
    Relation(
        key="used_for", subject="thing", object="activity", noun="use", editable=False,
        question=("What would you use a {s} for?", "What is the purpose of a {s}?",
                  "For what does one need a {s}?"),
        cloze=("A {s} is used for", "A {s} serves for"),
        inverted=("The use of a {s} is", "The purpose of a {s} is"),
        indirect=("Someone who holds a {s} is about to start",),
    ),
)  # fmt: skip

BY_KEY: dict[str, Relation] = {relation.key: relation for relation in RELATIONS}

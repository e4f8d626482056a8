"""UniEdit: facts of 25 domains of Wikidata, with questions that they change and do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

from bench.datasets.base import EditDataset, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe

# A file for each domain, the same in both splits.
DOMAINS = (
    "agronomy", "art", "astronomy", "biology", "chemistry", "civil engineering",
    "computer science", "data science", "economics", "environmental science", "geoscience",
    "history", "jurisprudence", "literature", "material science", "mathematics",
    "mechanical engineering", "medicine", "pedagogy", "philosophy", "physics", "political science",
    "psychology", "sociology", "sports science",
)  # fmt: skip
_PARTS = tuple(f"{domain}.json" for domain in DOMAINS)
_EDIT = ["h_e", "r_e", "t_e"]  # the edit itself, as a path through the facts
# What a locality question shares with the edit, as the files spell it, and our names for it.
_SHARED = {
    "none": "unrelated",
    "head of edit": "same_subject",
    "property of edit": "same_relation",
    "tail of edit": "same_object",
}
# Two chains that meet are compared, and the released evaluation asks for yes or no in these words.
_YES_NO = " The answer is (Yes/No):"


class UniEdit(EditDataset):
    """Request `edit`; a question of one fact is generality, one of several is portability.

    A generality question of the files that only rewords the edit stays one; those that reverse its
    relation, chain it to other facts or compare two chains are portability, with the other facts as
    hops. The names of the edit's object are aliases.
    """

    key = "uniedit"
    label = "UniEdit"
    title = "UniEdit, Wikidata in 25 domains"
    source = "https://huggingface.co/datasets/qizhou/UniEdit"
    revision = "8b69deb0327a0efd8a7e7b11b80a527dc33f0d42"
    licence = "MIT"
    citation = (
        "Chen et al., UniEdit: A Unified Knowledge Editing Benchmark for Large Language Models, "
        "NeurIPS 2025"
    )
    # Together the 311,142 of the paper; no file was counted.
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "train": PublishedFile(path="train", parts=_PARTS, rows=207_419),
        "test": PublishedFile(path="test", parts=_PARTS, rows=103_723),
    }

    distances: ClassVar[Mapping[str, str]] = {
        kind: kind for kind in ("unrelated", "same_relation", "same_subject")
    }

    def read(self, row: Row, sample_id: str) -> EditSample:
        edit = row.row("edit")
        target, names = edit.text("target"), tuple(_names(edit))
        questions = list(map(_question, _each(row, "generality")))
        return EditSample(
            id=sample_id,
            request=EditRequest(
                prompt=edit.text("prompt"), target=target, subject=edit.text("subject")
            ),
            aliases=_others(names, target),
            generality=tuple(
                replace(probe, aliases=_others((target, *names), probe.target))
                for probe in questions
                if probe.kind == "rephrase"
            ),
            locality=tuple(map(_unchanged, _each(row, "locality"))),
            portability=tuple(probe for probe in questions if probe.kind != "rephrase"),
        )


def _each(row: Row, field: str) -> Iterator[Row]:
    """The questions of a field, an object with one for each number."""
    questions = row.row(field)
    return map(questions.row, questions.fields)


def _names(edit: Row) -> Iterator[str]:
    """Label and aliases of the edit's object, if it is an entity."""
    tail = edit.row("tail_entity")
    if tail.text("datatype") == "wikibase-item":
        entity = tail.row("value")
        yield entity.text("label")
        yield from entity.texts("aliases")


def _others(names: tuple[str, ...], target: str) -> tuple[str, ...]:
    return tuple(name for name in dict.fromkeys(names) if name not in ("", target))


def _chains(question: Row) -> tuple[Row, ...]:
    """The chains of facts of a question: itself, or the two that meet."""
    if question.choice("path_type", ("single", "double")) == 0:
        return (question,)
    return question.row("single_path1"), question.row("single_path2")


def _asked(question: Row) -> str:
    """The question's prompt, with the words that ask for yes or no where chains are compared."""
    prompt = question.text("prompt")
    return prompt + _YES_NO * (prompt != "" and len(_chains(question)) > 1)


def _question(question: Row) -> Probe:
    """A generality question of the files, its kind by what is between it and the edit."""
    chains = [chain.rows("one_hops") for chain in _chains(question)]
    hops = [hop for chain in chains for hop in chain]
    is_reversed = any(
        hop.fields.get("reverse_in_multi_hop") is True
        for hop in hops
        if list(hop.texts("path")) == _EDIT
    )
    kinds = {
        "same_entity": len(chains) > 1,
        "multi_hop": len(hops) > 1,
        "relation_reversal": is_reversed,
        "rephrase": True,
    }
    return Probe(
        kind=next(kind for kind, holds in kinds.items() if holds),
        prompt=_asked(question),
        target=question.text("target"),
        hops=tuple(
            (hop.text("prompt"), hop.text("target"))
            for hop in hops
            if list(hop.texts("path")) != _EDIT
        ),
    )


def _unchanged(question: Row) -> Probe:
    kinds = list(_SHARED.values())
    return Probe(
        kind=kinds[question.choice("loc_type", list(_SHARED))],
        prompt=_asked(question),
        target=question.text("target"),
    )

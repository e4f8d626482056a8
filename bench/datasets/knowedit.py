"""KnowEdit: the parts on single facts of the benchmark, three data sets in one form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from bench.datasets.base import EditDataset, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe


class _KnowEdit:
    """Request `prompt` -> `target_new`; generality the rephrasing; the rest by kind.

    `portability` and `locality` are objects with a list of questions for each kind. A question's
    `ground_truth` may be a list, or a list of lists: the first text is its target, the others are
    aliases. Subject aliasing is portability here, as in KnowEdit; in RIPE it is generality.
    """

    source: ClassVar[str] = "https://huggingface.co/datasets/zjunlp/KnowEdit"
    revision: ClassVar[str] = "6d218881e60c7c8be836bd2befd598eb3b318be4"
    licence: ClassVar[str] = "MIT"
    citation: ClassVar[str] = (
        "Zhang et al., A Comprehensive Study of Knowledge Editing for Large Language Models, 2024"
    )
    distances: ClassVar[Mapping[str, str]] = {
        "Relation_Specificity": "same_subject",
        "Forgetfulness": "same_pair",
    }

    def read(self, row: Row, sample_id: str) -> EditSample:
        """As in `EditDataset`."""
        target = row.text("target_new")
        return EditSample(
            id=sample_id,
            request=EditRequest(
                prompt=row.text("prompt"), target=target, subject=row.text("subject")
            ),
            generality=tuple(
                Probe(kind="rephrase", prompt=text, target=target)
                for field in ("rephrase", "rephrase_prompt")
                if field in row.fields
                for text in _texts(row, field)
                if text
            ),
            locality=tuple(_probes(row, "locality")),
            portability=tuple(_probes(row, "portability")),
        )


def _probes(row: Row, field: str) -> Iterator[Probe]:
    kinds = row.row(field) if field in row.fields else Row({}, row.where)
    for kind in kinds.fields:
        for item in kinds.rows(kind):
            prompt, *_ = (*_texts(item, "prompt"), "")
            answers = [text for text in dict.fromkeys(_texts(item, "ground_truth")) if text.strip()]
            target, *aliases = answers or [""]
            yield Probe(kind=kind, prompt=prompt, target=target, aliases=tuple(aliases))


def _texts(row: Row, field: str) -> Iterator[str]:
    """The texts of a field that is one, or a list, or a list of lists."""
    if isinstance(row.fields.get(field), list):
        yield from _flat(row, field, row.fields[field])
    else:
        yield row.text(field)


def _flat(row: Row, field: str, value: object) -> Iterator[str]:
    if isinstance(value, list):
        for part in value:
            yield from _flat(row, field, part)
    else:
        yield row.as_text(field, value, "a string or lists of strings")


class KnowEditZsRE(_KnowEdit, EditDataset):
    """The part with new answers to questions of ZsRE; its training split is not published here."""

    key = "knowedit_zsre"
    label = "KnowEdit-ZsRE"
    title = "ZsRE of KnowEdit"
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "test": PublishedFile(path="benchmark/ZsRE/ZsRE-test-all.json", rows=1_301),
    }


class KnowEditRecent(_KnowEdit, EditDataset):
    """The part with facts of Wikidata that are newer than the models it was for."""

    key = "knowedit_wiki_recent"
    label = "KnowEdit-recent"
    aliases = ("wiki_recent",)
    title = "WikiData recent of KnowEdit"
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "train": PublishedFile(path="benchmark/wiki_recent/recent_train.json", rows=570),
        "test": PublishedFile(path="benchmark/wiki_recent/recent_test.json", rows=1_266),
    }


class KnowEditCounterfact(_KnowEdit, EditDataset):
    """The part with invented changes of facts of Wikidata."""

    key = "knowedit_wiki_counterfact"
    label = "KnowEdit-counterfact"
    aliases = ("wiki_counterfact",)
    title = "WikiData counterfact of KnowEdit"
    # As users of the files have counted them; the data card says 1,455 and 885.
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "train": PublishedFile(path="benchmark/wiki_counterfact/train_cf.json", rows=1_428),
        "test": PublishedFile(path="benchmark/wiki_counterfact/test_cf.json", rows=839),
    }

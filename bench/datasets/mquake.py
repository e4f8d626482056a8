"""MQuAKE: counterfactual facts with questions that need them and others in a chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from bench.datasets.base import EditDataset, PublishedFile, Split
from bench.datasets.rows import Row
from editors.base import EditRequest, EditSample, Probe


class MQuAKE(EditDataset):
    """Every fact of `requested_rewrite` is an edit; `questions` -> `new_answer` are portability.

    A row of several facts is as many samples, each with all questions of the row: the other single
    hops, which may be the row's other edits, are the hops of each. Generality is the fact as a
    question; there are no locality questions. Rows share facts, so some edits occur again.
    """

    key = "mquake"
    label = "MQuAKE"
    aliases = ("mquake-cf-3k-v2", "mquake_cf_3k_v2")
    title = "MQuAKE-CF-3k-v2, counterfactual multi-hop questions"
    source = "https://github.com/princeton-nlp/MQuAKE"
    revision = "fb43dadc2d8cd19d08ce81c63d957b59deb3f3cd"
    licence = "MIT"
    citation = (
        "Zhong et al., MQuAKE: Assessing Knowledge Editing in Language Models via Multi-Hop "
        "Questions, EMNLP 2023"
    )
    files: ClassVar[Mapping[Split, PublishedFile]] = {
        "test": PublishedFile(
            path="datasets/MQuAKE-CF-3k-v2.json",
            variants=("MQuAKE-CF-3k-v2[-_]*.json",),
            rows=3_000,
            git_blob="6cf0904341e9910ce702641c5a24547ce23ff1e2",
        ),
    }

    def read(self, row: Row, sample_id: str) -> tuple[EditSample, ...]:
        edits = row.rows("requested_rewrite")
        return tuple(
            _sample(row, edit, f"{sample_id}-{number}" if len(edits) > 1 else sample_id)
            for number, edit in enumerate(edits)
        )


def _sample(row: Row, edit: Row, sample_id: str) -> EditSample:
    prompt, subject = edit.text("prompt"), edit.text("subject")
    target, question = edit.row("target_new").text("str"), edit.text("question")
    wordings = {question, prompt.replace("{}", subject)}
    hops = row.rows("new_single_hops")
    own = [hop for hop in hops if wordings & {hop.text("question"), hop.text("cloze")}]
    aliases = tuple(name for hop in own for name in hop.texts("answer_alias"))
    return EditSample(
        id=sample_id,
        request=EditRequest(prompt=prompt, target=target, subject=subject),
        aliases=aliases,
        former=edit.row("target_true").text("str") if "target_true" in edit.fields else "",
        generality=(Probe(kind="question", prompt=question, target=target, aliases=aliases),),
        locality=(),
        portability=tuple(
            Probe(
                kind=f"{len(hops)}_hops",
                prompt=asked,
                target=row.text("new_answer"),
                aliases=row.texts("new_answer_alias"),
                hops=tuple(
                    (hop.text("question"), hop.text("answer")) for hop in hops if hop not in own
                ),
            )
            for asked in row.texts("questions")
        ),
    )

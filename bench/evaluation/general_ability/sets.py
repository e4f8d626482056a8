"""The four general-ability sets, in the column order of the paper's Table 2.

Each declares where its rows are, and maps a row to an item in our wording.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from bench.datasets.rows import Row
from bench.world.ability_items import LABELS, LETTERS, NO_ANSWER, Choice, Entailment, Reading

ANSWERABLE, UNANSWERABLE = "answerable", "unanswerable"  # groups of SQuAD-2
_MMLU_OPTIONS = 4
_MMLU_SUFFIX = "_test"  # of the authors' file names: one CSV file for each subject


@dataclass(frozen=True, kw_only=True)
class AbilityItem:
    """A prompt in our wording, and either options with the right one's index or gold answers."""

    group: str  # MMLU's subject, ANLI's round, SQuAD-2's kind of question; empty elsewhere
    prompt: str
    options: tuple[str, ...] = ()  # as they follow the prompt; none: it is answered in words
    answer: int | None = None  # index of the right option
    golds: tuple[str, ...] = ()  # of an item without options; none: it has no answer
    document: Mapping[str, Any]  # the fields as the hub's set has them

    @property
    def target(self) -> str:
        """The text forced of an item without options: its first gold answer, or `NO_ANSWER`."""
        return self.golds[0] if self.golds else NO_ANSWER


@dataclass(frozen=True, kw_only=True)
class HubPart:
    """Where the `datasets` library finds a set."""

    path: str
    name: str | None = None  # of the configuration
    splits: tuple[str, ...]


class AbilitySet(ABC):
    """A set of questions. A subclass declares where it is and maps a row to an item."""

    key: ClassVar[str]
    label: ClassVar[str]  # as the paper's Table 2 prints it
    measure: ClassVar[Literal["accuracy", "1/PPL"]] = "accuracy"
    hub: ClassVar[HubPart]
    # Names of local files, below any folder: the first pattern that fits any file is taken, and all
    # files that fit it are read. The embedded world's come first, parquet files of the hub last.
    patterns: ClassVar[tuple[str, ...]]
    csv_columns: ClassVar[tuple[str, ...]] = ()  # of local CSV files, with a head or none
    # Folder of the set among the built-in tasks of lm-eval, and the task of a group; None: ours.
    lm_eval: ClassVar[tuple[str, str] | None] = None

    @abstractmethod
    def read(self, row: Row, part: str) -> AbilityItem:
        """The item of one row; `part` is the name of the file or hub split that it stands in.

        Raises:
            ValueError: a field is absent or of the wrong type.
        """


class CommonsenseQA(AbilitySet):
    """Five options; the hub's form or that of the authors' release.

    The validation split: the test split's answers are not published.
    """

    key = "csqa"
    label = "CSQA"
    hub = HubPart(path="tau/commonsense_qa", splits=("validation",))
    patterns = (
        "csqa_validation.jsonl",
        "dev_rand_split.jsonl",
        "*commonsense_qa/**/validation-*.parquet",
    )
    lm_eval = "commonsense_qa", "commonsense_qa"

    def read(self, row: Row, part: str) -> AbilityItem:
        """The item of one row; see the base class."""
        options: tuple[str, ...]
        if isinstance(row.fields.get("question"), dict):  # the authors' form
            inner = row.row("question")
            question = inner.text("stem")
            options = tuple(option.text("text") for option in inner.rows("choices"))
        else:
            question, options = row.text("question"), row.row("choices").texts("text")
        if len(options) != len(LETTERS):
            raise row.refusal("choices", f"{len(LETTERS)} options", f"{len(options)}")
        answer = row.choice("answerKey", LETTERS)
        document = {
            "question": question,
            "choices": {"label": list(LETTERS), "text": list(options)},
            "answerKey": LETTERS[answer],
        }
        return AbilityItem(
            group="",
            prompt=Choice(question, options, answer).prompt(),
            options=tuple(LETTERS),
            answer=answer,
            document=document,
        )


class Mmlu(AbilitySet):
    """Four options, test split of all subjects; the hub's form or the authors' CSV files."""

    key = "mmlu"
    label = "MMLU"
    hub = HubPart(path="cais/mmlu", name="all", splits=("test",))
    patterns = ("mmlu_test.jsonl", f"test/*{_MMLU_SUFFIX}.csv", "*mmlu/all/test-*.parquet")
    csv_columns = ("question", *(f"choice{n}" for n in range(_MMLU_OPTIONS)), "answer")
    lm_eval = "mmlu/default", "mmlu_{}"

    def read(self, row: Row, part: str) -> AbilityItem:
        """The item of one row; see the base class."""
        columns = self.csv_columns[1:-1]
        # The authors' files are of one subject each, and do not name it.
        authors = columns[0] in row.fields and "choices" not in row.fields
        options = tuple(map(row.text, columns)) if authors else row.texts("choices")
        if len(options) != _MMLU_OPTIONS:
            raise row.refusal("choices", f"{_MMLU_OPTIONS} options", f"{len(options)}")
        letters = LETTERS[:_MMLU_OPTIONS]
        answer, question = row.choice("answer", letters), row.text("question")
        subject = part.removesuffix(_MMLU_SUFFIX) if authors else row.text("subject")
        document = {
            "question": question, "subject": subject, "choices": list(options), "answer": answer,
        }  # fmt: skip
        return AbilityItem(
            group=subject,
            prompt=Choice(question, options, answer).prompt(),
            options=tuple(letters),
            answer=answer,
            document=document,
        )


class Anli(AbilitySet):
    """Adversarial NLI: three labels, test splits of its three rounds.

    The round is that of the row's `tag`, else that of its file or split.
    """

    key = "anli"
    label = "ANLI"
    hub = HubPart(path="facebook/anli", splits=("test_r1", "test_r2", "test_r3"))
    patterns = ("anli_test.jsonl", "anli/test.jsonl", "*anli/**/test_r?-*.parquet")
    lm_eval = "anli", "anli_{}"

    def read(self, row: Row, part: str) -> AbilityItem:
        """The item of one row; see the base class."""
        premise, hypothesis = row.text("premise"), row.text("hypothesis")
        answer = row.choice("label", LABELS)  # numbered as the hub numbers them
        where = row.text("tag") if "tag" in row.fields else part
        match = re.search(r"r[123]", where)
        if match is None:
            raise row.refusal("tag", "the name of a round (r1, r2 or r3)", f"{where!r:.60}")
        return AbilityItem(
            group=match.group(),
            prompt=Entailment(premise, hypothesis, LABELS[answer]).prompt(),
            # The prompt ends before the space, which belongs to the label's first token.
            options=tuple(f" {label}" for label in LABELS),
            answer=answer,
            document={"premise": premise, "hypothesis": hypothesis, "label": answer},
        )


class Squad2(AbilitySet):
    """SQuAD 2.0, validation split; a question that its passage does not answer has answer `N/A`."""

    key = "squad2"
    label = "SQUAD-2"
    measure = "1/PPL"
    hub = HubPart(path="rajpurkar/squad_v2", splits=("validation",))
    patterns = ("squad_v2_validation*.jsonl", "*squad_v2/**/validation-*.parquet")

    def read(self, row: Row, part: str) -> AbilityItem:
        """The item of one row; see the base class."""
        title, context, question = row.text("title"), row.text("context"), row.text("question")
        answers = row.row("answers").texts("text")
        if not all(answer.strip() for answer in answers):
            raise row.refusal("answers", "answers that are not empty", "an empty one")
        golds = tuple(dict.fromkeys(answers))
        return AbilityItem(
            group=ANSWERABLE if golds else UNANSWERABLE,
            prompt=Reading(title, context, question, None).prompt(),
            golds=golds,
            document={
                "title": title, "context": context, "question": question, "answers": list(golds),
            },
        )  # fmt: skip


SETS: dict[str, AbilitySet] = {s.key: s for s in (CommonsenseQA(), Mmlu(), Anli(), Squad2())}

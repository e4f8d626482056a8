"""The four general-ability sets, in the column order of the paper's Table 2.

Each declares where its rows are, and maps a row to an item in our wording. They are read from the
embedded world, a local mirror or the hub, in one form.
"""

from __future__ import annotations

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from bench.core.numerics import draw
from bench.datasets.rows import Row, read_csv, read_rows
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

    @property
    def aliases(self) -> tuple[str, ...]:
        """Further gold answers."""
        return self.golds[1:]


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
        """The item of one row of a file or hub split named `part`; ValueError for a bad field."""


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


# ---- reading them ------------------------------------------------------------------------------

DRAW_SEED = 0  # of a limited set: every cell of a table asks the same questions


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the questions come from; plain values, so that it can go to a worker."""

    kind: Literal["embedded", "files", "hub"]
    directory: Path | None = None  # None: the hub
    name: str  # as captions print it


@dataclass(frozen=True, kw_only=True)
class LoadedSet:
    """All questions of a set. Equal contents have equal digests, whatever their form."""

    key: str
    items: tuple[AbilityItem, ...]
    digest: str  # sha256 of the documents' JSON


def load_sets(source: Source) -> dict[str, LoadedSet]:
    """The four sets by key; errors name the file, row and field, or the hub."""
    return {key: _loaded(ability_set, source) for key, ability_set in SETS.items()}


def chosen(loaded: LoadedSet, limit: int | None) -> list[tuple[int, AbilityItem]]:
    """(index, item) of a set's questions in order: all, or `limit` of them drawn at random."""
    numbered = list(enumerate(loaded.items))
    if limit is None or limit >= len(numbered):
        return numbered
    return sorted(draw(numbered, seed=DRAW_SEED, limit=limit), key=lambda pair: pair[0])


def holds_a_set(directory: Path) -> bool:
    """Whether a directory has files of at least one set."""
    return any(_files(ability_set, directory) for ability_set in SETS.values())


def _loaded(ability_set: AbilitySet, source: Source) -> LoadedSet:
    directory = source.directory
    rows = _hub_rows(ability_set) if directory is None else _file_rows(ability_set, directory)
    items = tuple(ability_set.read(row, part) for row, part in rows)
    if not items:
        raise ValueError(f"{ability_set.label} from {source.name} has no rows.")
    return LoadedSet(key=ability_set.key, items=items, digest=_digest(items))


def _file_rows(ability_set: AbilitySet, directory: Path) -> Iterator[tuple[Row, str]]:
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory} is not a directory: wanted the one with the sets.")
    files = _files(ability_set, directory)
    if not files:
        raise FileNotFoundError(
            f"No {ability_set.label} in {directory} or below it: wanted "
            f"{' or '.join(ability_set.patterns)}."
        )
    return ((row, path.stem) for path in files for row in _rows(ability_set, path))


def _files(ability_set: AbilitySet, directory: Path) -> Sequence[Path]:
    """The files of the first pattern that has any; ValueError for one in several folders."""
    matches = (sorted(directory.glob(f"**/{p}")) for p in ability_set.patterns)
    files = next(filter(None, matches), [])
    if len({path.name for path in files}) < len(files):
        places = ", ".join(str(path.relative_to(directory)) for path in files)
        raise ValueError(
            f"{ability_set.label} is in {directory} more than once: {places}. Wanted one."
        )
    return files


def _rows(ability_set: AbilitySet, path: Path) -> Iterator[Row]:
    """Rows of one local file."""
    if path.suffix == ".csv":
        return read_csv(path, path.read_bytes(), ability_set.csv_columns)
    if path.suffix == ".parquet":
        return _parquet_rows(path)
    return read_rows(path, path.read_bytes())


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        values: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not usable parquet: {error}") from None
    return (Row(value, f"{path}, row {number}") for number, value in enumerate(values))


def _hub_rows(ability_set: AbilitySet) -> Iterator[tuple[Row, str]]:
    from datasets import disable_progress_bars, load_dataset

    hub = ability_set.hub
    disable_progress_bars()
    for split in hub.splits:
        try:
            rows: Iterable[dict[str, Any]] = load_dataset(hub.path, hub.name, split=split)
        except Exception as error:  # it raises many kinds: offline, http, no cache
            raise OSError(
                f"Cannot get {ability_set.label} ({hub.path}) from the hub "
                f"({type(error).__name__}); check the network, or name the directory of a local "
                "copy with --ability-dir."
            ) from error
        where = f"{hub.path} {split}"
        yield from ((Row(row, f"{where}, row {i}"), split) for i, row in enumerate(rows))


def _digest(items: Iterable[AbilityItem]) -> str:
    whole = hashlib.sha256()
    for item in items:
        # The group is not in every document: ANLI's rounds are splits of the hub's set.
        line = json.dumps([item.group, item.document], sort_keys=True, ensure_ascii=False)
        whole.update(f"{line}\n".encode())
    return whole.hexdigest()

"""What a table is: its numbers, one entry each, laid out as columns of text under a caption.

`view` turns the records of a table's cells into such numbers. Every output format, and the pages of
`bench.report`, show the same ones; `bench.tables.render` writes them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import pairwise
from statistics import fmean
from typing import Any

from bench.core.cells import Cell, Identity, Varies, plain, stream_of
from bench.core.grids import Table, row_variant
from bench.core.names import RECENT, in_paper
from bench.core.numerics import Spread, spread
from bench.core.published import Published, PublishedCell
from bench.core.published import numbers as published_numbers
from bench.datasets import get_dataset
from bench.datasets.base import NO_SUBJECT
from bench.evaluation.metrics import PORTABILITY_KNOWN, Channel, Measure
from bench.evaluation.record_kinds import EditStream, TimingCell
from bench.store.results import Record
from editors import registry

METRICS = {"Rel": "reliability", "Gen": "generality", "Loc": "locality", "Avg": "average"}
# Of data sets that have such questions; no part of Avg.
PORTABILITY = {"Port": "portability", "Port-K": PORTABILITY_KNOWN}
_OF_QUESTIONS = ("Rel", "Gen", "Loc")  # Avg is of all of them
EMPTY = "-"
UNDEFINED = "A dash: undefined, or not run."
# As `bench.models.training_text` identifies the text of key statistics on real data.
_STATEMENTS = re.compile(r"training statements \((.+)\) .* tokens (\d+)$")
# As `bench.models.imported_statistics` does.
_ELSEWHERE = "statistics "
REMARKED, SIGNIFICANT = "\u2020", "\u2021"  # a dagger, a double dagger; captions explain them
DEPENDENT = "*"
RECENT_MARK = "\u00a7"  # a section sign: the editor is not in the paper's tables
LEAD = ("n", "Type", "Editor")
CSV_COLUMNS = (
    "table", "backbone", "n_edits", "type", "editor", "dataset", "metric", "value", "std", "seeds",
    "published_backbone", "published_value", "published_std", "remark", "protocol",
)  # fmt: skip
ROUNDING = 1e-4  # ours: a smaller change of a target's log-probability is rounding, no effect
PRESET, UNKNOWN = "preset", "no preset to compare with"


@dataclass(frozen=True)
class Metric:
    """Which scores of a record a table shows."""

    name: str  # in captions
    channel: Channel
    measure: Measure

    def published(self, table: Table) -> Mapping[PublishedCell, Published]:
        """What the paper prints: token accuracy, and no other metric."""
        return published_numbers(table.number) if self == TOKEN_ACCURACY else {}


MAIN = "token_accuracy"
TOKEN_ACCURACY = Metric("Teacher-forced token accuracy", "teacher_forced", "token_accuracy")
METRIC_OPTIONS = {  # by the name on the command line
    MAIN: TOKEN_ACCURACY,
    "exact": Metric("Teacher-forced exact match", "teacher_forced", "exact"),
    "generated": Metric("Exact match of greedy answers", "generated", "generated_exact"),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of a table: an editor, or the unedited model, after so many edits."""

    backbone: str
    n_edits: int
    editor: str | None = None  # key, `key/variant` for a variant; None: the unedited model
    label: str = "unedited"
    family: str = ""
    edit_set: str = ""  # label, in tables whose columns are not data sets
    variant: bool = False  # has no published numbers, and competes with nobody
    control: bool = False  # of Table 4's second backbone
    line: int = 0  # separates rows that are otherwise equal: times are not averaged over seeds

    @property
    def block(self) -> tuple[str, int]:
        """Rows of one block compete with each other; a rule separates blocks."""
        return self.edit_set, self.n_edits

    @property
    def name(self) -> str:
        """The label as it is printed."""
        return marked(self.label, self.editor) + " (control)" * self.control

    def lead(self, column: str) -> str:
        """The text of a leading column."""
        named = {"n": f"{self.n_edits:,}", "Edits": self.edit_set, "Type": self.family}
        return (named | {"Editor": self.name})[column] or EMPTY


@dataclass(frozen=True, kw_only=True)
class Interval:
    """The bootstrap interval of a number of one seed, in percent."""

    low: float
    high: float
    over: str  # what was resampled: `blocks`, or `samples`, which depend on each other

    @property
    def text(self) -> str:
        """`[94.1, 98.0]`, with a mark where it is of dependent samples."""
        return f" [{self.low:.1f}, {self.high:.1f}]" + DEPENDENT * (self.over == "samples")


@dataclass(frozen=True, kw_only=True)
class Number:
    """One number of a table: ours, the published one beside it, and what both are of."""

    row: Row
    dataset: str = ""  # label
    group: str = ""  # heading above the column
    column: str = ""  # empty: in the CSV alone
    metric: str = ""  # its name in the CSV; empty: in the text alone
    ours: Spread | None = None
    by_seed: Mapping[int, float] = field(default_factory=dict)
    place: PublishedCell | None = None  # where the paper prints this number, or would
    published: Published | None = None
    remarks: tuple[str, ...] = ()
    significant: bool = False  # RECIPE's lead over the best other editor
    protocol: str = ""  # id
    cells: tuple[Identity, ...] = ()  # planned for it, a seed each
    competes: bool = False  # whether it can be the best of its column in its block
    best: bool = False
    value: str | None = None  # the text of `ours`; None: its mean with two decimals
    spread: str | None = None  # the text after that one; None: the standard deviation
    interval: Interval | None = None  # of one seed
    extra: Mapping[str, str | int] = field(default_factory=dict)  # further columns of the CSV

    @property
    def decimals(self) -> int:
        """As many as the paper prints here."""
        return 2 if self.place is None else self.place.decimals

    @property
    def parts(self) -> tuple[str, str]:
        """`98.27` and `±0.15`; a dash and nothing where we have no number."""
        mean, std = _parts(self.ours, self.decimals)
        value = mean if self.value is None else self.value
        if self.interval is not None and self.column == "Avg":  # the CSV has those of all columns
            std = self.interval.text
        return value, std if self.spread is None else self.spread

    @property
    def marks(self) -> str:
        """Daggers after the number."""
        return SIGNIFICANT * self.significant + REMARKED * bool(self.remarks)

    @property
    def published_text(self) -> str:
        """The published value with its spread; empty where there is none."""
        if self.published is None:
            return ""
        return "".join(_parts(Spread(self.published.value, self.published.std, 1), self.decimals))

    @property
    def text(self) -> str:
        """`ours (published)`, with marks."""
        theirs = self.published_text
        return "".join(self.parts) + self.marks + (f" ({theirs})" if theirs else "")


def _parts(value: Spread | None, decimals: int) -> tuple[str, str]:
    if value is None:
        return EMPTY, ""
    return f"{value.mean:.{decimals}f}", "" if value.std is None else f"±{value.std:.{decimals}f}"


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """Groups of columns, and rows of text; `breaks` are the rows in front of which a rule goes.

    The first group holds the columns that name a row. A column without a name holds words.
    """

    caption: tuple[str, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]  # (heading, column names)
    rows: tuple[tuple[str, ...], ...]
    breaks: tuple[int, ...] = ()
    best: frozenset[tuple[int, int]] = frozenset()  # (row, column) of the largest numbers

    @property
    def lead(self) -> int:
        """How many columns name a row."""
        return len(self.groups[0][1])

    @property
    def columns(self) -> tuple[str, ...]:
        """Flat column names, each with its group's heading in front."""
        return tuple(f"{group} {name}".strip() for group, names in self.groups for name in names)


@dataclass(frozen=True, kw_only=True)
class View:
    """A table as its numbers, in the order of rows and columns."""

    table: Table
    caption: tuple[str, ...]
    numbers: tuple[Number, ...]
    lead: tuple[str, ...] = LEAD
    csv_columns: tuple[str, ...] = CSV_COLUMNS

    @property
    def rows(self) -> tuple[Row, ...]:
        """The lines, in their order."""
        return tuple(dict.fromkeys(number.row for number in self.numbers))

    @property
    def text(self) -> TextTable:
        """A line for each row, a column for each group and name."""
        shown = {(n.row, n.group, n.column): n for n in self.numbers if n.column}
        columns = list(dict.fromkeys((group, column) for _, group, column in shown))
        groups: dict[str, list[str]] = {}
        for group, column in columns:
            groups.setdefault(group, []).append(column)
        rows, best = [], set()
        for i, row in enumerate(self.rows):
            line = [shown.get((row, *column)) for column in columns]
            best |= {(i, j) for j, n in enumerate(line, start=len(self.lead)) if n and n.best}
            rows.append((*map(row.lead, self.lead), *(n.text if n else EMPTY for n in line)))
        return TextTable(
            caption=self.caption,
            groups=(("", self.lead), *((name, tuple(own)) for name, own in groups.items())),
            rows=tuple(rows),
            breaks=breaks([row.block for row in self.rows]),
            best=frozenset(best),
        )


def view(
    table: Table, cells: Sequence[Identity], records: Iterable[Record], metric: str = MAIN
) -> View:
    """A table of a plan's cells; cells without a complete record stay empty.

    Cells of one plan share protocol, metric version and, per n, the limit. The complete records may
    be of other cells too. The metric is of `METRIC_OPTIONS`; general ability and times have one.

    Raises:
        ValueError: cells of several protocols, which no column may mix.
    """
    module = import_module(f"bench.tables.{table.measures}")
    shown: View = module.view(table, cells, records, METRIC_OPTIONS[metric])
    return shown


def breaks(blocks: Sequence[object]) -> tuple[int, ...]:
    """The places at which another block begins."""
    return tuple(i for i, (first, second) in enumerate(pairwise(blocks), 1) if first != second)


def over_seeds(scores: Sequence[Mapping[str, float]], *, unit: float = 100) -> dict[str, Spread]:
    """Name -> spread over the seeds that have it; of shares in percent."""
    names = dict.fromkeys(name for own in scores for name in own)
    return {name: spread([unit * own[name] for own in scores if name in own]) for name in names}


def over_datasets(
    records: Iterable[Record], datasets: Collection[str], metric: Metric = TOKEN_ACCURACY,
    phase: str = "after",
) -> dict[str, Spread]:  # fmt: skip
    """Column -> mean over the data sets in percent, one value per seed that has all of them.

    Empty where no seed does: a mean over fewer data sets is another quantity.
    """
    by_seed: dict[int, dict[str, Mapping[str, float]]] = {}
    for record in records:
        cell, scores = record["cell"], record["summary"]["scores"][phase]
        if metric.channel in scores:
            own = by_seed.setdefault(cell["seed"], {})
            own[cell["dataset"]] = scores[metric.channel][metric.measure]
    whole = [own.values() for own in by_seed.values() if own.keys() >= set(datasets)]
    return {
        column: spread([100 * fmean(scores[name] for scores in own) for own in whole])
        for column, name in METRICS.items()
        if whole and all(name in scores for own in whole for scores in own)
    }


def with_best(numbers: Iterable[Number]) -> tuple[Number, ...]:
    """The same, with the largest of each column of a block marked; one alone is no best."""
    places = [(n, (n.row.block, n.group, n.column)) for n in numbers]
    rivals: dict[object, list[float]] = {}
    for n, column in places:
        if n.competes and n.ours:
            rivals.setdefault(column, []).append(round(n.ours.mean, 2))
    largest = {column: max(means) for column, means in rivals.items() if len(means) > 1}
    return tuple(
        replace(n, best=bool(n.competes and n.ours and round(n.ours.mean, 2) == largest.get(at)))
        for n, at in places
    )


def marked(label: str, editor: str | None) -> str:
    """A label with a mark where its editor (a key, or key/variant) is not in the paper's tables."""
    known = editor is None or in_paper(editor.partition("/")[0])
    return label if known else f"{label} {RECENT_MARK}"


# Sentences above tables.


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What the numbers of editing cells are, in sentences."""

    title: str
    measured: str
    published: str
    protocol: str
    seeds: str
    changes: str  # of presets; empty for none


def caption_of(
    table: Table, cells: Sequence[Cell], *, seeds: Collection[int], metric: Metric = TOKEN_ACCURACY
) -> Caption:
    """The caption of cells that share backbone, protocol and, per n, the limit."""
    first = cells[0]
    limits = {cell.n_edits: "all" if cell.limit is None else f"{cell.limit:,}" for cell in cells}
    drawn = ", ".join(f"{limit} at {n:,}" for n, limit in limits.items())
    data = ", ".join(dict.fromkeys(map(origin, cells)))
    protocols = ", ".join(dict.fromkeys(cell.protocol_id for cell in cells))
    presets = {c.editor: c.hparams for c in cells if row_variant(c.editor, c.hparams) is None}
    printed = metric == TOKEN_ACCURACY
    return Caption(
        title=f"Table {table.number}: {table.title}; reliability, generality, locality, average, "
        "in percent.",
        measured=f"Measured on {first.backbone} ({first.dtype}), data: {data}.",
        published=published_sentence(table, first.backbone)
        if printed
        else "The paper prints no such numbers.",
        protocol=f"{metric.name}, metric protocol {first.metric_version}; "
        f"sequential protocol {first.protocol}, scored at the end of each block; samples drawn "
        f"at n edits: {drawn}. Protocols: {protocols}.",
        seeds=seeds_sentence(seeds, first.varies),
        changes=changes_sentence(first.backbone, presets),
    )


def origin(cell: Cell | EditStream | TimingCell) -> str:
    """`ZSRE (embedded world 0)`."""
    return f"{get_dataset(cell.dataset).label} ({cell.dataset_revision})"


def published_sentence(
    table: Table, backbone: str, *, at: str = "", other: str = ": compare shapes, not values"
) -> str:
    """What stands in parentheses, with a warning where it is of another backbone."""
    end = "" if backbone == table.backbones["paper"] else f", another backbone{other}"
    return f"In parentheses the published value on {table.published_backbone}{at}{end}."


VARIED: Mapping[Varies, str] = {
    "order": "the samples and their order",
    "training": "the training of editors with weights of their own; the samples are those of "
    "seed 0",
    "both": "the samples, their order, and the training of editors with weights of their own",
}


def seeds_sentence(seeds: Collection[int], varies: Varies = "order") -> str:
    """What the seeds were, and what they vary."""
    listed = ", ".join(map(str, sorted(seeds)))
    what = VARIED[varies]
    if len(seeds) == 1:
        return f"One seed ({listed}) of {what}."
    return f"Mean ± sample standard deviation over up to {len(seeds)} seeds ({listed}) of {what}."


def changes_sentence(backbone: str, hparams: Mapping[str, Mapping[str, Any]]) -> str:
    """`GRACE with mode=easyedit.`: what differs from the presets; empty where nothing does."""
    changed = {editor: _changes(editor, backbone, own) for editor, own in hparams.items()}
    return " ".join(f"{registry.describe(e).label} with {c}." for e, c in changed.items() if c)


def _changes(editor: str, backbone: str, hparams: Mapping[str, Any]) -> str:
    if not registry.is_present(editor):  # a user's own, whose presets are not here
        return ""
    preset = plain(registry.compared_preset(editor, backbone, hparams).to_dict())
    return ", ".join(f"{k}={v}" for k, v in hparams.items() if preset.get(k) != v)


def settings_of(cell: Cell) -> str:
    """`mode=easyedit`: what differs from the editor's preset, or that nothing does.

    A variant with a row and a label of its own counts as a preset.
    """
    if row_variant(cell.editor, cell.hparams) is not None:
        return PRESET
    try:
        return _changes(cell.editor, cell.backbone, cell.hparams) or PRESET
    except ValueError:  # no preset for this backbone
        return UNKNOWN


def absent_sentences(columns: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Why data sets (labels) have no number in some columns, each a question that they lack."""
    for dataset, names in columns.items():
        lacking = [column for column in METRICS if column in set(names)]
        asked = " and no ".join(METRICS[column] for column in lacking if column in _OF_QUESTIONS)
        yield f"{dataset}: no {asked} question was drawn; undefined: {', '.join(lacking)}."


def notes(numbers: Sequence[Number]) -> Iterator[str]:
    """What a dagger means (an editor changed nothing or diverged), and recent editors' mark."""
    remarks = dict.fromkeys(
        f"{n.row.label} at {n.row.n_edits:,} on {n.row.edit_set or n.dataset}: "
        f"{'; '.join(n.remarks)}"
        for n in numbers
        if n.remarks
    )
    if remarks:
        yield f"{REMARKED} {'. '.join(remarks)}."
    if any(RECENT_MARK in n.row.name for n in numbers):
        yield f"{RECENT_MARK} {RECENT.capitalize()}."


def unusual(records: Iterable[Record]) -> tuple[str, ...]:
    """What a reader should know of models and data: a BOS that no prompt got, missing subjects.

    On real data also the text of key statistics.
    """
    sentences: dict[str, None] = {}
    for record in records:
        cell, data = record["cell"], record.get("data", {})
        special = record.get("provenance", {}).get("special_tokens", {})
        if special.get("lacks_bos"):
            front = f"a BOS ({special['bos']}), which its tokenizer puts in front of no prompt"
            sentences[f"{cell['backbone']} has {front}."] = None
        if text := text_of(cell):
            sentences[text] = None
        if count := data.get("fallbacks", {}).get(NO_SUBJECT):
            of = f"{count:,} of {data['samples']:,} edits on {get_dataset(cell['dataset']).label}"
            place = "editors that write at the subject took the prompt's last token there"
            sentences[f"The subject of {of} is not in the prompt: {place}."] = None
    return tuple(sentences)


def text_of(cell: Mapping[str, Any]) -> str:
    """Of which text the key statistics of a cell on real data are; empty for others."""
    corpus = cell.get("inputs", {}).get("corpus", "")
    if not corpus or str(cell.get("dataset_revision", "")).startswith("embedded"):
        return ""
    if match := _STATEMENTS.match(corpus):
        text = (
            f"the statements of the training splits of {match[1]}, at most {int(match[2]):,} tokens"
        )
    elif corpus.startswith(_ELSEWHERE):
        text = f"statistics computed elsewhere, with sha256 {corpus.removeprefix(_ELSEWHERE)[:12]}"
    else:
        digest, _, amount = corpus.partition(" documents ")
        named = digest.partition("@")[0] if "/" in digest else f"with sha256 {digest[:12]}"
        most = f", at most {int(amount.split()[0]):,} documents" if amount else ""
        text = f"the text {named}{most}"
    return f"Key statistics and memory texts: {text}."


def remarks_of(records: Sequence[Record]) -> tuple[str, ...]:
    """`diverged at edit 37 (seed 1)`: what is wrong with records of one number, if anything."""
    return tuple(
        text + (f" (seed {stream_of(record['cell'])['seed']})" if len(records) > 1 else "")
        for record in records
        if (text := remark(record.get("health", ())))
    )


def remark(blocks: Sequence[Mapping[str, Any]]) -> str | None:
    """`diverged at edit 37`, `no effect`, or both of a record's blocks; None if all is well."""
    diverged = [block for block in blocks if block["effect"] is None]
    idle = [block for block in blocks if block["effect"] is not None and block["effect"] < ROUNDING]
    edits = [block["diverged_at"] for block in diverged if block["diverged_at"] is not None]
    where = f" at edit {min(edits)}" if edits else ""
    parts = []
    for words, some in ((f"diverged{where}", diverged), ("no effect", idle)):
        share = "" if len(some) == len(blocks) else f" ({len(some)} of {len(blocks)} blocks)"
        parts += [words + share] if some else []
    return ", ".join(parts) or None

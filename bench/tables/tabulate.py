"""Records to the numbers of a table: mean and spread over seeds, the published value beside."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.core.cells import Cell, check_one_way, plain
from bench.core.grids import Table, Variant, row_variant
from bench.core.numerics import Spread, spread
from bench.core.published import Published, numbers
from bench.datasets import get_dataset
from bench.store.results import Record
from bench.tables.columns import MAIN, SHOWN, Shown
from bench.tables.comparisons import Averages
from bench.tables.footnotes import remark
from editors import registry

# Column -> name in a summary; the main column is what the paper's released code measures.
METRICS = {
    "Rel": "reliability",
    "Gen": "generality",
    "Loc": "locality",
    "Avg": "average",
}


NOT_PUBLISHED = "The paper prints no such numbers."


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a table: an editor, or a variant of one, at a number of edits."""

    n_edits: int
    editor: str  # key, with the variant's behind it where it is one
    label: str
    family: str
    variant: Variant | None = None  # takes no part in comparisons


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An editor at n edits on one data set, in percent."""

    values: Mapping[str, Spread]  # by column of METRICS; columns without items are absent
    prompt_only: Spread | None  # Avg with the honest retrieval text, of retrieval editors
    kinds: Mapping[str, Spread]  # by `aspect/kind`
    averages: Mapping[int, float] = field(default_factory=dict)  # Avg by seed
    remarks: tuple[str, ...] = ()  # `diverged at edit 37`, `no effect`, with their seeds


@dataclass(frozen=True, kw_only=True)
class Caption:
    """Sentences that stand over a table; without them its numbers mean nothing."""

    title: str
    measured: str
    published: str
    protocol: str
    seeds: str
    changes: str = ""  # of presets


@dataclass(frozen=True, kw_only=True)
class TableData:
    """Everything that a rendered table shows."""

    table: Table
    backbone: str
    caption: Caption
    rows: tuple[Row, ...]
    datasets: tuple[str, ...]  # keys, in column order
    entries: Mapping[tuple[int, str, str], Entry]  # by n, editor key, data set key
    published: Mapping[tuple[int, str, str, str], Published]  # by n, labels, column
    protocols: Mapping[str, str]  # data set key -> id

    @property
    def averages(self) -> Averages:
        """Avg in percent by seed, of every editor."""
        labels = {(r.n_edits, r.editor): r.label for r in self.rows if r.variant is None}
        return {
            (n, labels[n, editor], get_dataset(dataset).label): entry.averages
            for (n, editor, dataset), entry in self.entries.items()
            if (n, editor) in labels
        }


def tabulate(
    table: Table, cells: Sequence[Cell], records: Iterable[Record], shown: Shown = SHOWN[MAIN]
) -> TableData:
    """The table of a plan's cells; cells without a complete record stay empty.

    `cells` are of one plan, so they share protocol, metric version and, per n, the limit. Records
    that were not asked in the way that is `shown` count as missing.

    Raises:
        ValueError: cells of several protocols, which no column may mix.
    """
    check_one_way(cells)
    by_key = {record["key"]: record for record in records}
    groups: dict[tuple[int, str, str], list[Record]] = {}
    for cell in cells:
        found = groups.setdefault((cell.n_edits, row_key(cell), cell.dataset), [])
        record = by_key.get(cell.key())
        found += [record] if record is not None and _was_asked(record, shown) else []
    done = [cell for cell in cells if cell.key() in by_key]
    return TableData(
        table=table,
        backbone=cells[0].backbone,
        caption=caption_of(table, cells, seeds={cell.seed for cell in done or cells}, shown=shown),
        rows=tuple({(one.n_edits, row_key(one)): row_of(one) for one in cells}.values()),
        datasets=tuple(dict.fromkeys(dataset for _, _, dataset in groups)),
        entries={place: _entry(found, shown) for place, found in groups.items() if found},
        published=published_values(table) if shown.published else {},
        protocols={cell.dataset: cell.protocol_id for cell in cells},
    )


def caption_of(
    table: Table, cells: Sequence[Cell], *, seeds: Collection[int], shown: Shown = SHOWN[MAIN]
) -> Caption:
    """Says what was measured and how; `cells` share backbone, protocol and, per n, the limit."""
    first = cells[0]
    limits = {cell.n_edits: "all" if cell.limit is None else f"{cell.limit:,}" for cell in cells}
    drawn = ", ".join(f"{limit} at {n:,}" for n, limit in limits.items())
    protocols = dict.fromkeys(cell.protocol_id for cell in cells)
    return Caption(
        title=f"Table {table.number}: {table.title}; reliability, generality, locality, average, "
        "in percent.",
        measured=f"Measured on {first.backbone} ({first.dtype}), data: {_origins(cells)}.",
        published=_published_sentence(table, first.backbone) if shown.published else NOT_PUBLISHED,
        protocol=f"{shown.name}, metric protocol {first.metric_version}; "
        f"sequential protocol {first.protocol}, scored at the end of each block; samples drawn "
        f"at n edits: {drawn}. Protocols: {', '.join(protocols)}.",
        seeds=seeds_sentence(sorted(seeds)),
        changes=changes_sentence(
            first.backbone, {c.editor: c.hparams for c in cells if _variant(c) is None}
        ),
    )


def _published_sentence(table: Table, backbone: str) -> str:
    same = backbone == table.backbones["paper"]
    rest = "." if same else ", another backbone: compare shapes, not values."
    return f"In parentheses the published value on {table.published_backbone}{rest}"


def published_values(table: Table) -> dict[tuple[int, str, str, str], Published]:
    """(n, editor label, data set label, column) -> the paper's number."""
    return {place[1:]: number for place, number in numbers(table.number).items()}


def _variant(cell: Cell) -> Variant | None:
    return row_variant(cell.editor, cell.hparams)


def row_key(cell: Cell) -> str:
    one = _variant(cell)
    return cell.editor if one is None else f"{cell.editor}/{one.key}"


def row_of(cell: Cell) -> Row:
    entry, one = registry.describe(cell.editor), _variant(cell)
    return Row(
        n_edits=cell.n_edits,
        editor=row_key(cell),
        label=entry.label if one is None else one.label,
        family=entry.family,
        variant=one,
    )


def _was_asked(record: Record, shown: Shown) -> bool:
    return shown.channel in record["summary"]["scores"]["after"]


def _entry(records: Sequence[Record], shown: Shown) -> Entry:
    """Spread over the records of different seeds."""
    after = [record["summary"]["scores"]["after"] for record in records]
    main = [scores[shown.channel][shown.measure] for scores in after]
    by_kind = [record["summary"]["kinds"]["after"] for record in records]
    kinds = [scores[shown.channel][shown.measure] for scores in by_kind]
    seeds = [record["cell"]["seed"] for record in records]
    by_metric = _spreads(main)
    return Entry(
        values={c: by_metric[name] for c, name in METRICS.items() if name in by_metric},
        prompt_only=_prompt_only(records, shown),
        kinds=_spreads(kinds),
        averages={seed: 100 * one["average"] for seed, one in zip(seeds, main, strict=True)},
        remarks=tuple(_remarks(records)),
    )


def _prompt_only(records: Sequence[Record], shown: Shown) -> Spread | None:
    """Avg with the honest retrieval text; decoded answers have no other."""
    if not records[0]["editor"]["retrieves_text"] or shown.channel == "generated":
        return None
    after = [record["summary"]["scores"]["after"] for record in records]
    return _spreads([scores["prompt_only"][shown.measure] for scores in after]).get("average")


def _remarks(records: Sequence[Record]) -> Iterator[str]:
    """What is wrong with some records; those of earlier versions do not tell."""
    for record in records:
        found = remark(record.get("health", ()))
        if found is not None:
            seed = "" if len(records) == 1 else f" (seed {record['cell']['seed']})"
            yield found + seed


def _spreads(scores: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Name -> spread in percent, over the seeds that have it."""
    names = dict.fromkeys(name for one in scores for name in one)
    return {n: spread([100 * one[n] for one in scores if n in one]) for n in names}


def _origins(cells: Sequence[Cell]) -> str:
    origins = {
        cell.dataset: f"{get_dataset(cell.dataset).label} ({cell.dataset_revision})"
        for cell in cells
    }
    return ", ".join(origins.values())


def changes_sentence(backbone: str, hparams: Mapping[str, Mapping[str, Any]]) -> str:
    """`GRACE with mode=easyedit.`: what differs from the presets; empty where nothing does."""
    parts = []
    for editor, values in hparams.items():
        if not registry.is_present(editor):
            continue
        preset = plain(registry.hparams_for(editor, backbone).to_dict())
        changed = [f"{k}={v}" for k, v in values.items() if preset.get(k) != v]
        if changed:
            parts.append(f"{registry.describe(editor).label} with {', '.join(changed)}.")
    return " ".join(parts)


def seeds_sentence(seeds: Sequence[int]) -> str:
    """What the seeds were, and what they vary."""
    if len(seeds) == 1:
        return f"One seed ({seeds[0]}), which draws and orders the samples."
    return (
        f"Mean ± sample standard deviation over up to {len(seeds)} seeds "
        f"({', '.join(map(str, seeds))}), which draw and order the samples."
    )

"""What is lost between the number that tables print and what a user of the edited model sees.

The chain of measures, each stricter or more honest than the one before it:

1. `tokens`: teacher-forced token accuracy, the main column. Retrieval sees prompt and target.
2. `exact`: all forced tokens are hit. This equals greedy decoding that is stopped after as many
   tokens as the target has: as long as every forced argmax hits, what is forced is what the model
   would have fed itself, so that the next argmax is the same in both; and where one misses, the
   decoded answer has that wrong token in that place. So both are right of the same items, for the
   same retrieval. (Locality compares with the unedited model's argmax behind the data set's answer
   instead of with a target; there the two may differ.)
3. `prompt_only`: the same, where retrieval sees the prompt alone. It loses something only for
   editors that look a text up; for the others the two are one measurement.
4. `generated`: decoded to where the answer ends by itself, compared as SQuAD compares answers. It
   may gain something too, where only case, articles or punctuation were wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.core.cells import Cell, canonical
from bench.core.grids import row_variant
from bench.core.names import in_paper
from bench.core.numerics import Spread, spread
from bench.evaluation.metrics import Channel, Measure
from bench.store.results import Record
from bench.tables.labels import settings_of
from bench.tables.tabulate import METRICS
from editors import registry

TOKENS, EXACT, PROMPT_ONLY, GENERATED = "tokens", "exact", "prompt_only", "generated"
LEVELS: Mapping[str, tuple[Channel, Measure]] = {
    TOKENS: ("teacher_forced", "token_accuracy"),
    EXACT: ("teacher_forced", "exact"),
    PROMPT_ONLY: ("prompt_only", "exact"),
    GENERATED: ("generated", "generated_exact"),
}
# Step -> (level before, level after); the last ones are no part of the chain.
STEPS: Mapping[str, tuple[str, str]] = {
    "exact": (TOKENS, EXACT),
    "leak": (EXACT, PROMPT_ONLY),
    "stop": (PROMPT_ONLY, GENERATED),
    "total": (TOKENS, GENERATED),
}
LEAK_OF_TOKENS = "leak_of_tokens"  # from `tokens` to the same measure by the prompt alone


@dataclass(frozen=True, kw_only=True)
class Loss:
    """One metric of an editor at n edits on one data set, in percent and in points lost."""

    backbone: str
    dataset: str  # key
    n_edits: int
    editor: str  # key
    label: str
    family: str
    settings: str  # `preset`, or what differs from it
    retrieves: bool  # whether it looks a text up; if not, `leak` is nothing by construction
    metric: str  # of `bench.tables.tabulate.METRICS`
    levels: Mapping[str, Spread]  # of LEVELS; absent where it was not asked
    lost: Mapping[str, Spread]  # by step, and LEAK_OF_TOKENS; above 0 where something is lost
    seeds: tuple[int, ...]
    keys: tuple[str, ...]  # of the cells

    @property
    def recent(self) -> bool:
        """Whether the editor is not in the paper's tables."""
        return not in_paper(self.editor)


def losses(records: Sequence[Record]) -> Iterator[Loss]:
    """The chain of every metric, cells that differ in their seed alone together, in their order.

    Other records than editing ones take no part, nor do decoded answers to another prompt.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record["cell"].get("kind") == Cell.kind:
            place = canonical(record["cell"] | {"seed": None})
            groups.setdefault(place, []).append(record)
    for found in groups.values():
        yield from _of_cells(found)


def _of_cells(records: Sequence[Record]) -> Iterator[Loss]:
    cell = Cell.from_dict(records[0]["cell"])
    entry, variant = registry.describe(cell.editor), row_variant(cell.editor, cell.hparams)
    for metric, name in METRICS.items():
        by_seed = {
            int(record["cell"]["seed"]): found
            for record in records
            if (found := _levels(record, name))
        }
        if by_seed:
            yield Loss(
                backbone=cell.backbone,
                dataset=cell.dataset,
                n_edits=cell.n_edits,
                editor=cell.editor,
                label=entry.label if variant is None else variant.label,
                family=entry.family,
                settings=settings_of(cell),
                retrieves=bool(records[0]["editor"]["retrieves_text"]),
                metric=metric,
                levels=_spreads([*by_seed.values()]),
                lost=_spreads([_lost(found) for found in by_seed.values()]),
                seeds=tuple(sorted(by_seed)),
                keys=tuple(record["key"] for record in records),
            )


def _levels(record: Record, name: str) -> dict[str, float]:
    """Level -> percent of one record, and the tokens that are hit with honest retrieval."""
    after = record["summary"]["scores"]["after"]
    wanted = {**LEVELS, LEAK_OF_TOKENS: ("prompt_only", "token_accuracy")}
    if record["cell"]["generation"] != "context_free":
        del wanted[GENERATED]
    return {
        level: 100 * after[channel][measure][name]
        for level, (channel, measure) in wanted.items()
        if name in after.get(channel, {}).get(measure, {})
    }


def _lost(levels: Mapping[str, float]) -> dict[str, float]:
    steps = {**STEPS, LEAK_OF_TOKENS: (TOKENS, LEAK_OF_TOKENS)}
    return {
        step: levels[before] - levels[after]
        for step, (before, after) in steps.items()
        if before in levels and after in levels
    }


def _spreads(by_seed: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Over the seeds that have it."""
    names = dict.fromkeys(name for one in by_seed for name in one)
    return {name: spread([one[name] for one in by_seed if name in one]) for name in names}

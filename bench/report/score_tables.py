"""The scores of a record as small tables: by channel and measure, by type of probe, by age."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.tables.layout import EMPTY
from bench.tables.tabulate import METRICS

Table = tuple[list[str], list[list[str]]]  # columns, rows
_PHASES = {"after": "edited", "before": "unedited"}
# Channel -> measure -> what it is; others follow under their own names.
_ASKED = {
    "teacher_forced": "forced; retrieval sees prompt and target",
    "prompt_only": "forced; retrieval sees the prompt",
    "generated": "decoded to its natural end",
}
_MEASURES = {"token_accuracy": "tokens", "exact": "exact", "generated_exact": "exact"}
_SHORT = {"teacher_forced": "", "prompt_only": ", P-only", "generated": ", decoded"}


def scores(found: Mapping[str, Any]) -> Table:
    """A row for each phase, channel and measure, in percent."""
    rows = [
        [
            f"{_PHASES.get(phase, phase)}, {_ASKED.get(channel, channel)}",
            _MEASURES.get(measure, measure),
            *(percent(values.get(name)) for name in METRICS.values()),
        ]
        for phase in _ordered(found, _PHASES)
        for channel, measure, values in _measured(found[phase])
    ]
    return ["How it was asked", "Measure", *METRICS], rows


def kinds(found: Mapping[str, Any]) -> Table:
    """A row for each type of probe after editing, a column for each channel and measure."""
    columns = {
        _MEASURES.get(measure, measure) + _SHORT.get(channel, f", {channel}"): by_kind
        for channel, measure, by_kind in _measured(found.get("after", {}))
    }
    names = dict.fromkeys(kind for by_kind in columns.values() for kind in by_kind)
    rows = [
        [_words(name), *(percent(by_kind.get(name)) for by_kind in columns.values())]
        for name in names
    ]
    return ["Type of probe", *columns], rows


def ages(groups: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each group of edits, the youngest first."""
    rows = [
        [
            _range(one["from"], one["to"]),
            f"{one['samples']:,}",
            percent(one["reliability"]),
            percent(one["generality"]),
        ]
        for one in groups
    ]
    return ["Edits that came after", "Samples", "Rel", "Gen"], rows


def percent(value: float | None) -> str:
    """Two decimals; a dash for nothing."""
    return EMPTY if value is None else f"{100 * value:.2f}"


def _measured(channels: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    for channel in _ordered(channels, _ASKED):
        for measure in _ordered(channels[channel], _MEASURES):
            yield channel, measure, channels[channel][measure]


def _ordered(found: Mapping[str, Any], known: Mapping[str, str]) -> list[str]:
    """The known names in their order, then the others."""
    return [*(name for name in known if name in found), *(n for n in found if n not in known)]


def _words(name: str) -> str:
    return name.replace("/", ": ").replace("_", " ")


def _range(first: int, last: int) -> str:
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"

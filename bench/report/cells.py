"""A record as the sections of its page: facts, small tables and samples, all of them plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.core.cells import Identity, plain, stream_of
from bench.core.published import edits
from bench.datasets import get_dataset
from bench.evaluation.record_kinds import identity_of
from bench.store.results import Record
from bench.tables.table import EMPTY, METRICS, remark
from editors import registry

Section = dict[str, Any]  # title, and one of `facts`, `table` or `samples`
_KNOWN = {"samples", "blocks", "items", "scores", "kinds"}  # of an editing summary
_SEEN = {
    "schema", "key", "digest", "status", "cell", "editor", "data", "provenance", "health",
    "summary", "edit_seconds", "by_age", "worst",
}  # fmt: skip
_PHASES = {"after": "edited", "before": "unedited"}
# Channels and measures in words; others follow under their own names.
_CHANNELS = {
    "teacher_forced": "forced; retrieval sees prompt and target",
    "prompt_only": "forced; retrieval sees the prompt",
    "generated": "decoded to its natural end",
}
_SHORT = {"teacher_forced": "", "prompt_only": ", P-only", "generated": ", decoded"}
_MEASURES = {"token_accuracy": "tokens", "exact": "exact", "generated_exact": "exact"}


def cell_view(record: Record) -> dict[str, Any]:
    """What the page of one cell shows."""
    cell, stream = identity_of(record["cell"]), stream_of(record["cell"])
    title, short = _names(record["cell"], stream)
    return {
        "key": record["key"], "title": title, "short": short, "protocol": cell.protocol_id,
        "sections": list(_sections(record, cell, stream)),
    }  # fmt: skip


def _sections(record: Record, cell: Identity, stream: Mapping[str, Any]) -> Iterator[Section]:
    summary = record.get("summary", {})
    yield {"title": "What was measured", "facts": _identity(record, cell)}
    if "scores" in summary:
        yield {"title": "Scores", "table": _scores(summary["scores"])}
    if "kinds" in summary:
        yield {"title": "Scores by type of probe", "table": _kinds(summary["kinds"])}
    if record.get("by_age"):
        yield {"title": "By the age of the edit", "table": _ages(record["by_age"])}
    yield from _unknown("Summary", _but(summary, *(_KNOWN if "scores" in summary else ())))
    if record.get("worst"):
        yield {"title": "Worst samples", "samples": list(map(_sample, record["worst"]))}
    if stream.get("editor"):
        yield {"title": "Hyper-parameters", "table": _hparams(stream, record["cell"]["backbone"])}
    yield {"title": "Health", "facts": _health(record.get("health", []))}
    yield {"title": "Time", "facts": _times(record)}
    yield {"title": "Provenance", "facts": _flat(_but(record["provenance"], "seconds"))}
    yield {"title": "Identity", "facts": _flat(_but(record["cell"], "hparams", "edits"))}
    yield from _unknown("Further parts", _but(record, *_SEEN))


def _unknown(title: str, parts: Mapping[str, Any]) -> Iterator[Section]:
    """Parts of a record that this page has no form for, a section each where they have parts."""
    single = [(_words(name), _text(value)) for name, value in parts.items() if not _nested(value)]
    if single:
        yield {"title": title, "facts": single}
    for name, value in parts.items():
        if _nested(value):
            yield {"title": f"{title}: {_words(name)}", "facts": _flat(value)}


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as `outer / inner` with their text."""
    if not _nested(value):
        return [(_words(prefix), _text(value))]
    parts = value.items() if isinstance(value, Mapping) else enumerate(value)
    head = f"{prefix} / " if prefix else ""
    return [pair for name, part in parts for pair in _flat(part, f"{head}{name}".rstrip())]


def _nested(value: Any) -> bool:
    """Whether a value has parts of its own that need names; lists of plain values do not."""
    if isinstance(value, list):
        return any(isinstance(part, dict | list) for part in value)
    return isinstance(value, Mapping) and bool(value)


def _text(value: Any) -> str:
    """A plain value in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(_text, value)) if isinstance(value, list) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _percent(value: float | None) -> str:
    """Two decimals; a dash for nothing."""
    return EMPTY if value is None else f"{100 * value:.2f}"


def _but(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _names(cell: Mapping[str, Any], stream: Mapping[str, Any]) -> tuple[str, str]:
    """The title, and what distinguishes the cells of one number."""
    kind = {"ability": ", general ability", "timing": ", times"}.get(cell.get("kind", ""), "")
    if not stream.get("editor"):
        return f"Unedited {cell['backbone']}{kind}", "unedited"
    label, data = registry.describe(stream["editor"]).label, get_dataset(stream["dataset"]).label
    where, seed = f"{data}, {edits(stream['n_edits'])}", f"seed {stream['seed']}"
    return f"{label} on {where}, {cell['backbone']}, {seed}{kind}", f"{data}, {seed}"


def _identity(record: Record, cell: Identity) -> list[tuple[str, str]]:
    summary, editor = record.get("summary", {}), record["editor"]
    label, counts = editor.get("label"), [n for n in ("samples", "blocks", "items") if n in summary]
    return [
        ("Protocol", cell.protocol_id),
        ("Backbone", f"{cell.backbone} ({cell.dtype})"),
        ("Editor", f"{label} ({editor.get('family')})" if label else "none"),
        *((name.capitalize(), _text(summary[name])) for name in counts),
        ("Remark", remark(record.get("health", [])) or "none"),
    ]


Rows = dict[str, list[Any]]  # columns, rows


def _scores(phases: Mapping[str, Any]) -> Rows:
    """A row for each phase, channel and measure, in percent."""
    rows = []
    for phase in _ordered(phases, _PHASES):
        for channel, measure, values in _measured(phases[phase]):
            asked = f"{_PHASES.get(phase, phase)}, {_CHANNELS.get(channel, channel)}"
            scores = (_percent(values.get(name)) for name in METRICS.values())
            rows.append([asked, _MEASURES.get(measure, measure), *scores])
    return {"columns": ["How it was asked", "Measure", *METRICS], "rows": rows}


def _kinds(phases: Mapping[str, Any]) -> Rows:
    """A row for each type of probe after editing, a column for each channel and measure."""
    columns = {
        _MEASURES.get(measure, measure) + _SHORT.get(channel, f", {channel}"): by_kind
        for channel, measure, by_kind in _measured(phases.get("after", {}))
    }
    names = dict.fromkeys(kind for by_kind in columns.values() for kind in by_kind)
    rows = []
    for name in names:
        scores = (_percent(own.get(name)) for own in columns.values())
        rows.append([_words(name.replace("/", ": ")), *scores])
    return {"columns": ["Type of probe", *columns], "rows": rows}


def _ages(groups: Sequence[Mapping[str, Any]]) -> Rows:
    """A row for each group of edits, the youngest first."""
    rows = []
    for group in groups:
        first, last = group["from"], group["to"]
        ages = f"{first:,}" if first == last else f"{first:,} to {last:,}"
        scores = (_percent(group[name]) for name in ("reliability", "generality"))
        rows.append([ages, f"{group['samples']:,}", *scores])
    return {"columns": ["Edits that came after", "Samples", "Rel", "Gen"], "rows": rows}


def _measured(channels: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    for channel in _ordered(channels, _CHANNELS):
        for measure in _ordered(channels[channel], _MEASURES):
            yield channel, measure, channels[channel][measure]


def _ordered(values: Mapping[str, Any], known: Mapping[str, str]) -> list[str]:
    """The known names in their order, then the others."""
    return [*(name for name in known if name in values), *(n for n in values if n not in known)]


def _sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    names = ("kind", "prompt", "target", "before", "after")
    items = [[str(item[name]) for name in names] for item in sample["items"]]
    return {"id": str(sample["id"]), "score": _percent(sample["score"]), "items": items}


def _hparams(stream: Mapping[str, Any], backbone: str) -> Rows:
    """Each value with the preset's, and whether they differ."""
    try:
        own = registry.compared_preset(stream["editor"], backbone, stream["hparams"])
        preset = plain(own.to_dict())
    except ValueError:  # no preset for this backbone
        preset = {}
    rows = []
    for name, value in stream["hparams"].items():
        usual = _text(preset[name]) if name in preset else EMPTY
        same = not preset or preset.get(name) == value
        rows.append([name, _text(value), usual, "as the preset" if same else "changed"])
    return {"columns": ["Name", "Value", "Preset", "Difference"], "rows": rows}


def _health(blocks: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    if not blocks:
        return [("Blocks", "not recorded")]
    effects = [block["effect"] for block in blocks if block["effect"] is not None]
    low, high = (f"{end(effects):.4g}" if effects else EMPTY for end in (min, max))
    return [
        ("Blocks looked at", _text(len(blocks))), ("Remark", remark(blocks) or "all is well"),
        ("Smallest effect", low), ("Largest effect", high),
    ]  # fmt: skip


def _times(record: Record) -> list[tuple[str, str]]:
    seconds = record["provenance"].get("seconds", {})
    parts = [(f"{name}, s", _text(value)) for name, value in seconds.items()]
    names = ("lower quartile", "median", "upper quartile")
    quartiles = zip(names, record.get("edit_seconds", ()), strict=False)
    return parts + [(f"one edit, {name}, s", _text(value)) for name, value in quartiles]

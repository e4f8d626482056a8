"""A record as the sections of its page: facts, small tables and samples, all of them plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.core.cells import Identity, plain
from bench.core.published import edits
from bench.datasets import get_dataset
from bench.evaluation.record_kinds import identity_of
from bench.report.score_tables import ages, kinds, percent, scores
from bench.store.results import Record
from bench.tables.footnotes import remark
from bench.tables.layout import EMPTY
from editors import registry

Section = dict[str, Any]  # title, and one of `facts`, `table` or `samples`
_KNOWN = {"samples", "blocks", "items", "scores", "kinds"}  # of an editing summary
_SEEN = {
    "schema", "key", "digest", "status", "cell", "editor", "data", "provenance", "health",
    "summary", "edit_seconds", "by_age", "worst",
}  # fmt: skip


def cell_view(record: Record) -> dict[str, Any]:
    """What the page of one cell shows."""
    cell = identity_of(record["cell"])
    stream = stream_of(record)
    return {
        "key": record["key"],
        "title": _title(record, stream),
        "short": _short(stream),
        "protocol": cell.protocol_id,
        "sections": list(_sections(record, cell, stream)),
    }


def stream_of(record: Record) -> Mapping[str, Any]:
    """What holds the editor and its edits; empty of a model that was asked unedited."""
    cell: Mapping[str, Any] = record["cell"]
    if cell.get("kind") == "ability":
        return cell["edits"] or {}
    return cell


def _sections(record: Record, cell: Identity, stream: Mapping[str, Any]) -> Iterator[Section]:
    summary = record.get("summary", {})
    yield facts("What was measured", _identity(record, cell))
    if "scores" in summary:
        yield table("Scores", *scores(summary["scores"]))
    if "kinds" in summary:
        yield table("Scores by type of probe", *kinds(summary["kinds"]))
    if record.get("by_age"):
        yield table("By the age of the edit", *ages(record["by_age"]))
    known = _KNOWN if "scores" in summary else set()
    yield from unknown("Summary", {k: v for k, v in summary.items() if k not in known})
    if record.get("worst"):
        yield {"title": "Worst samples", "samples": list(_samples(record["worst"]))}
    if stream.get("editor"):
        yield table("Hyper-parameters", *_hparams(stream, record["cell"]["backbone"]))
    yield facts("Health", _health(record.get("health", [])))
    yield facts("Time", _times(record))
    yield facts("Provenance", flat(_but(record["provenance"], "seconds")))
    yield facts("Identity", flat(_but(record["cell"], "hparams", "edits")))
    yield from unknown("Further parts", {k: v for k, v in record.items() if k not in _SEEN})


def facts(title: str, pairs: Sequence[tuple[str, str]]) -> Section:
    """A section of names with their values."""
    return {"title": title, "facts": [list(pair) for pair in pairs]}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Section:
    """A section with a table; the first column names the rows."""
    return {"title": title, "table": {"columns": list(columns), "rows": [[*r] for r in rows]}}


def unknown(title: str, parts: Mapping[str, Any]) -> Iterator[Section]:
    """Parts of a record that this page has no form for, a section each where they have parts."""
    single = [
        (name.replace("_", " "), text(value)) for name, value in parts.items() if not _nested(value)
    ]
    if single:
        yield facts(title, single)
    for name, value in parts.items():
        if _nested(value):
            yield facts(f"{title}: {name.replace('_', ' ')}", flat(value))


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as `outer / inner` with their text."""
    if not _nested(value):
        return [(prefix.replace("_", " "), text(value))]
    parts = value.items() if isinstance(value, Mapping) else enumerate(value)
    head = f"{prefix} / " if prefix else ""
    return [pair for name, part in parts for pair in flat(part, f"{head}{name}".rstrip())]


def text(value: Any) -> str:
    """A plain value in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(text, value)) if isinstance(value, list) else str(value)


def _nested(value: Any) -> bool:
    """Whether a value has parts of its own that need names; lists of plain values do not."""
    if isinstance(value, list):
        return any(isinstance(part, dict | list) for part in value)
    return isinstance(value, Mapping) and bool(value)


def _title(record: Record, stream: Mapping[str, Any]) -> str:
    kind = {"ability": ", general ability", "timing": ", times"}.get(record["cell"].get("kind"), "")
    if not stream.get("editor"):
        return f"Unedited {record['cell']['backbone']}{kind}"
    label = registry.describe(stream["editor"]).label
    where = f"{get_dataset(stream['dataset']).label}, {edits(stream['n_edits'])}"
    return f"{label} on {where}, {record['cell']['backbone']}, seed {stream['seed']}{kind}"


def _short(stream: Mapping[str, Any]) -> str:
    """What tells the cells of one number apart."""
    if not stream.get("editor"):
        return "unedited"
    return f"{get_dataset(stream['dataset']).label}, seed {stream['seed']}"


def _identity(record: Record, cell: Identity) -> list[tuple[str, str]]:
    summary, stated = record.get("summary", {}), record["editor"]
    counts = [(name.capitalize(), text(summary[name])) for name in ("samples", "blocks", "items")
              if name in summary]  # fmt: skip
    label = stated.get("label")
    return [
        ("Protocol", cell.protocol_id),
        ("Backbone", f"{cell.backbone} ({cell.dtype})"),
        ("Editor", f"{label} ({stated.get('family')})" if label else "none"),
        *counts,
        ("Remark", remark(record.get("health", [])) or "none"),
    ]


def _samples(worst: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in worst:
        items = [
            [str(item[name]) for name in ("kind", "prompt", "target", "before", "after")]
            for item in one["items"]
        ]
        yield {"id": str(one["id"]), "score": percent(one["score"]), "items": items}


def _hparams(stream: Mapping[str, Any], backbone: str) -> tuple[list[str], list[list[str]]]:
    """Each value with the preset's, and whether they differ."""
    preset = _preset(stream["editor"], backbone)
    rows = []
    for name, value in stream["hparams"].items():
        usual = text(preset[name]) if name in preset else EMPTY
        changed = bool(preset) and preset.get(name) != value
        rows.append([name, text(value), usual, "changed" if changed else "as the preset"])
    return ["Name", "Value", "Preset", "Difference"], rows


def _preset(editor: str, backbone: str) -> Mapping[str, Any]:
    """Empty where there is none for this backbone."""
    try:
        found: Mapping[str, Any] = plain(registry.hparams_for(editor, backbone).to_dict())
    except ValueError:
        return {}
    return found


def _health(blocks: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    if not blocks:
        return [("Blocks", "not recorded")]
    effects = [one["effect"] for one in blocks if one["effect"] is not None]
    return [
        ("Blocks looked at", text(len(blocks))),
        ("Remark", remark(blocks) or "all is well"),
        ("Smallest effect", f"{min(effects):.4g}" if effects else EMPTY),
        ("Largest effect", f"{max(effects):.4g}" if effects else EMPTY),
    ]


def _times(record: Record) -> list[tuple[str, str]]:
    made = record["provenance"]
    parts = [(f"{name}, s", text(value)) for name, value in made.get("seconds", {}).items()]
    if "edit_seconds" in record:
        names = ("lower quartile", "median", "upper quartile")
        pairs = zip(names, record["edit_seconds"], strict=True)
        parts += [(f"one edit, {name}, s", text(value)) for name, value in pairs]
    return parts


def _but(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}

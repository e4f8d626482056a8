"""A record in words: what of, in which state, how made, how good, what went worst."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench.evaluation.record_kinds import identity_of
from bench.store.compact import compact
from bench.store.query import stale_reason
from bench.store.results import Record, is_complete, protocol_of


def lines(record: Record) -> Iterator[str]:
    """The lines that `results show` prints."""
    status, cell, stale = record["status"], record["cell"], stale_reason(record)
    yield identity_of(cell).describe()
    yield f"key      {record['key']}"
    yield f"state    {status['state']}" + ("" if stale is None else f", stale: {stale}")
    yield f"protocol {protocol_of(record)}"
    yield f"schema   {record['schema']}"
    yield f"digest   {record.get('digest', 'none in this schema')}"
    if not is_complete(record):
        yield f"error    {status.get('error')}: {status.get('message')}"
        yield from str(status.get("traceback", "")).splitlines()
    yield from _section("cell", cell)
    yield from _section("provenance", record["provenance"])
    yield from _section("data", record.get("data", {}))
    yield from _section("summary", record.get("summary", {}))
    for sample in _worst(record):
        yield f"worst sample {sample['id']}, score {sample['score']:.3f}"
        for item in sample["items"]:
            yield f"  {item['kind']}: {item['prompt']!r} -> {item['target']!r}"
            yield f"    before {item['before']!r}, after {item['after']!r}"


def _worst(record: Record) -> list[dict[str, Any]]:
    """The samples that went worst, of a complete editing record."""
    found: list[dict[str, Any]] = compact(record).get("worst", []) if is_complete(record) else []
    return found


def _section(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    if values:
        yield f"{title}:"
    for name, value in values.items():
        yield from _nested(f"  {name}", value)


def _nested(name: str, value: Any) -> Iterator[str]:
    """One line for each number or short value."""
    if isinstance(value, Mapping) and any(isinstance(part, Mapping) for part in value.values()):
        for inner, part in value.items():
            yield from _nested(f"{name}/{inner}", part)
    elif isinstance(value, float):
        yield f"{name}  {value:.6g}"
    elif isinstance(value, str):
        yield f"{name}  {value}"
    else:
        yield f"{name}  {json.dumps(value, ensure_ascii=False)}"

"""Whether the committed reference is whole and unchanged, which needs no model.

`manifest.json` beside the records has of each file its digest, the number of its cells, the commits
and processors that computed them, and the commands that compute them again.
`python -m bench.checks.regression.committed` writes it anew, after records were added.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.checks.regression.compare import Outcome
from bench.core.cells import CellKey, stream_of
from bench.core.files import write_text
from bench.core.grids import SMALL, TABLES, Preset, ablation_of, row_variant
from bench.store.reference import COVARIANCE, FIGURE_3, MAP, reference_folder, reference_records
from bench.store.results import SEALED_SINCE, Record, failure_of, is_complete, parse
from bench.store.schema import violations

MANIFEST = "manifest.json"

Cells = Mapping[str, int]  # `mini-llama, 10 edits, ft` -> how many
# Of files whose cells depart from their table's usual settings.
_OPTIONS = {
    COVARIANCE: "--hparam rome.mode=easyedit --hparam memit.solver=isotropic",
    "table2-lm-eval": "--scoring lm-eval --task-limit 50",
}


def committed() -> Iterator[Outcome]:
    """The outcome of each file of the reference: its records, their seals and their number."""
    folder = reference_folder()
    try:
        wanted = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError) as error:
        yield Outcome(MANIFEST, "differs", f"cannot be read: {error}", "manifest")
        return
    for name in sorted({*wanted, *(path.name for path in _files(folder))}):
        stem = name.partition(".")[0]
        faults = list(_faults(folder / name, wanted.get(name)))
        if faults:
            rest = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            yield Outcome(name, "differs", faults[0] + rest, stem)
            continue
        count = sum(wanted[name].get("cells", {}).values())
        whole = f"all {count:,} records are as they were committed" if count else "as committed"
        yield Outcome(name, "equal", whole, stem)


def manifest(folder: Path) -> dict[str, Any]:
    """Of the files as they are; ValueError: one that holds no records."""
    entries = {path.name: _entry(path, path.read_bytes()) for path in _files(folder)}
    for name in (name for name, entry in entries.items() if "cells" in entry):
        stem = name.partition(".")[0]
        entries[name] |= _origin(stem, reference_records(stem))
    return entries


def _entry(path: Path, content: bytes) -> dict[str, Any]:
    lines = content.splitlines() if path.suffix == ".jsonl" else []
    records = [parse(text, f"{path.name}, line {number}") for number, text in enumerate(lines, 1)]
    cells = {"cells": _cells(records)} if records else {}
    return {"sha256": hashlib.sha256(content).hexdigest()} | cells


def _origin(name: str, records: Sequence[Record]) -> dict[str, list[str]]:
    """By which commits, on which processors and by which commands records were computed."""
    origins = [record["provenance"] for record in records]
    machines = [origin["hardware"] for origin in origins]
    return {
        "commits": sorted({origin["git"]["commit"] for origin in origins}),
        "processors": sorted({f"{m['processor']}, {m['cpu_capability']}" for m in machines}),
        "commands": commands(name, records),
    }


def commands(name: str, records: Sequence[Record]) -> list[str]:
    """The `run` commands that compute the records of a file, as few as their cells allow."""
    points = []
    for record in records:
        cell, stream = CellKey.of(record["cell"]), stream_of(record["cell"])
        if cell.editor is not None:
            length = stream["hparams"].get("prompt_length") if name == FIGURE_3 else None
            points.append({**cell._asdict(), "length": length or 0})
    frame = pd.DataFrame(points)
    for column in ("seed", "dataset", "editor", "n_edits"):  # points that differ in it alone
        others = [other for other in frame if other != column]
        together = frame.groupby(others)[column].apply(lambda values: tuple(sorted(set(values))))
        frame = together.reset_index()
    return [_command(name, point) for point in frame.sort_values("n_edits").to_dict("records")]


def _command(name: str, point: Mapping[Hashable, Any]) -> str:
    columns = ("editor", "dataset", "n_edits", "seed")
    editors, datasets, edits, seeds = (",".join(map(str, point[key])) for key in columns)
    match, backbone, length = re.search(r"table(\d)", name), point["backbone"], point["length"]
    table = TABLES[int(match[1]) if match else 1]
    preset: Preset = "small" if backbone == SMALL else "embedded"
    parts = [
        f"python -m bench run --table {table.number}",
        "" if preset == "embedded" else f"--preset {preset} --data-dir DIR",
        "" if backbone == table.backbones[preset] else f"--backbone {backbone}",
        "" if table.measures == "ablation" else f"--editors {editors}",
        "" if set(point["dataset"]) == set(table.datasets) else f"--datasets {datasets}",
        f"--edits {edits} --seeds {seeds}",
        _OPTIONS.get(name, ""),
        f"--hparam recipe.prompt_length={length}" if length else "",
    ]
    return " ".join(filter(None, parts))


def _files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.jsonl"), *folder.glob(MAP)])


def _cells(records: Sequence[Record]) -> Cells:
    counts = Counter(_group(record["cell"]) for record in records)
    return {
        f"{backbone}, {n_edits} edits, {editor}": counts[backbone, n_edits, editor]
        for backbone, n_edits, editor in sorted(counts)
    }


def _group(cell: Mapping[str, Any]) -> tuple[str, int, str]:
    """Backbone, number of edits, editor or the variant of it; the unedited model has no edits."""
    names, hparams = CellKey.of(cell), stream_of(cell).get("hparams", {})
    variant = row_variant(names.editor or "", hparams) or ablation_of(hparams)
    editor = names.editor or "unedited"
    return names.backbone, names.n_edits or 0, f"{editor} {variant.key}" if variant else editor


def _faults(path: Path, wanted: Mapping[str, Any] | None) -> Iterator[str]:
    if wanted is None:
        yield f"is not in {MANIFEST}"
        return
    try:
        content = path.read_bytes()
        now = _entry(path, content)
    except (OSError, ValueError) as error:
        yield f"cannot be read: {error}"
        return
    for number, text in enumerate(content.splitlines() if "cells" in now else (), 1):
        yield from (f"line {number} {fault}" for fault in _of_record(json.loads(text)))
    was, cells = wanted.get("cells", {}), now.get("cells", {})
    for group in {**was, **cells}:
        if was.get(group, 0) != cells.get(group, 0):
            yield f"has {cells.get(group, 0)} cells of {group}, expected {was.get(group, 0)}"
    if now["sha256"] != wanted.get("sha256"):
        yield f"is not the file whose digest is in {MANIFEST}"


def _of_record(record: Record) -> Iterator[str]:
    if record["schema"] < SEALED_SINCE:
        yield "has no digest"
    if not is_complete(record):
        yield f"is of a cell that failed: {failure_of(record)}"
    yield from violations(record)


if __name__ == "__main__":
    where = reference_folder()
    write_text(where / MANIFEST, json.dumps(manifest(where), indent=1) + "\n")

"""What a change of the code's layout must not change: cell keys, reference files, tables.

The tables are held by their digests in `frozen.json`; where a number is meant to change, write it
again with `python -m tests.test_frozen`. `benchmarks/frozen.py` compares whole runs as well.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.core.config import RunConfig
from bench.runner.planning import plan
from bench.store.reference import (
    reference_folder,
    reference_records,
    table_records,
    write_reference,
)

TABLES = (1, 2, 3, 4, 5, 6)
PINNED = Path(__file__).with_name("frozen.json")
# Editors whose weights are shipped for the table's backbone: planning trains nothing.
SHIPPED = {
    5: ("ft", "rome", "memit", "grace", "recipe"),
    6: ("ft", "rome", "grace", "lte", "recipe"),
}


@pytest.mark.parametrize("number", [1, 4, 5, 6])
def test_planned_cells_have_the_keys_of_the_reference(number: int) -> None:
    planned = plan(RunConfig(table=number, editors=SHIPPED.get(number)))
    keys = {job.cell.key() for job in planned.jobs}
    assert keys
    assert keys <= {record["key"] for record in table_records(number)}


@pytest.mark.parametrize("path", sorted(reference_folder().glob("*.jsonl")), ids=lambda p: p.stem)
def test_reference_files_are_encoded_to_the_same_bytes(path: Path, tmp_path: Path) -> None:
    again = write_reference(tmp_path / path.name, reference_records(path.stem))
    assert again.read_bytes() == path.read_bytes()


def digests(number: int) -> dict[str, str]:
    """sha256 of the files that `tables --reference` writes."""
    with tempfile.TemporaryDirectory() as folder:
        assert main(["tables", "--table", str(number), "--reference", "--out", folder]) == 0
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((Path(folder) / "tables").iterdir())
        }


@pytest.mark.parametrize("number", TABLES)
def test_tables_of_the_reference_are_the_same_bytes(number: int) -> None:
    pinned = json.loads(PINNED.read_text(encoding="utf-8"))
    assert digests(number) == pinned[str(number)]


if __name__ == "__main__":
    text = json.dumps({str(number): digests(number) for number in TABLES}, indent=2)
    PINNED.write_text(text + "\n", encoding="utf-8")

"""Running commands in tests, and reading their records."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.evaluation.record_kinds import identity_of
from bench.store.results import ResultStore

ROWS = 5


def tables_arguments(run_arguments: list[str]) -> list[str]:
    """The same selection for `tables`, which takes no `--jobs`."""
    at = run_arguments.index("--jobs")
    return ["tables", *run_arguments[1:at], *run_arguments[at + 2 :]]


def records() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(Path("out").glob("*.json"))]


def forbid_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("bench.evaluation.context.load", refuse)


def exit_code(arguments: list[str]) -> int:
    """The exit code of the process; argparse exits by itself."""
    with pytest.raises(SystemExit) as end:
        sys.exit(main(arguments))
    assert isinstance(end.value.code, int)
    return end.value.code


def store_as(record: dict[str, Any], cell: dict[str, Any]) -> None:
    """Another record of the same numbers."""
    identity = identity_of(cell)
    other = {"cell": cell, "key": identity.key(), "protocol": identity.protocol_id}
    ResultStore(Path("out")).write(record | other)

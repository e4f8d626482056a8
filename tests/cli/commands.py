"""Running commands in tests, and reading their records."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.evaluation.record_kinds import identity_of
from bench.store.results import ResultStore

ROWS = 5


def tables_arguments(run_arguments: list[str]) -> list[str]:
    """The same selection for `tables`, which takes no `--jobs`."""
    at = run_arguments.index("--jobs")
    return ["tables", *run_arguments[1:at], *run_arguments[at + 2 :]]


def records() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(Path("out").glob("*.json"))]


def one_cell(run_arguments: list[str]) -> list[str]:
    """Of the cells of a run, the first of CF."""
    return [*run_arguments, "--editors", "ft", "--datasets", "cf", "--edits", "1"]


def raising(error: BaseException) -> Callable[..., None]:
    """A function that does nothing else."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def forbid_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = raising(AssertionError("a model was loaded"))
    monkeypatch.setattr("bench.evaluation.context.load", refuse)


class Said(NamedTuple):
    """What a command says, and its exit code."""

    code: int
    out: str
    err: str


Cli = Callable[..., Said]  # runs a command in this process
Refused = Callable[..., str]  # runs a command that is to be refused; the sentence with which it is


def store_as(record: dict[str, Any], cell: dict[str, Any]) -> None:
    """Another record of the same numbers."""
    identity = identity_of(cell)
    other = {"cell": cell, "key": identity.key(), "protocol": identity.protocol_id}
    ResultStore(Path("out")).write(record | other)

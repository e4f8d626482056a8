"""A small grid of real cells, a home for it, and the outcomes of the faults that are tried."""

from __future__ import annotations

import json
import random
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from bench.checks.contract.tiny import tiny_llama
from bench.cli.main import main
from bench.evaluation.jobs import EditJob
from bench.store.results import ResultStore
from editors.parts.recipe.hparams import RecipeHparams
from editors.recipe import RecipeEditor
from editors.registry import hparams_for
from tests.datasets.example_rows import write, zsre_row
from tests.support.plans import edit_jobs
from tests.support.tiny_files import resources, save_tiny

EDITORS = ("ft", "rome", "grace", "recipe")
EDITS = (1, 4)
ROWS = 4
HPARAMS = ("ft.num_steps=10", "rome.v_num_grad_steps=10", "grace.n_iter=10", "recipe=tiny")

Results = dict[str, Any]  # by key: a record without times and provenance


_SHOWN = 12  # stories in a failure


class SilentError(AssertionError):
    """A fault that changed a result without any message."""


@dataclass
class Count:
    """Of one class of faults."""

    tried: int = 0
    lost: list[str] = field(default_factory=list)  # the stories
    silent: list[str] = field(default_factory=list)
    _settled: list[int] = field(default_factory=lambda: [0, 0, 0])  # of each, by earlier tests

    @property
    def survived(self) -> int:
        return self.tried - len(self.lost) - len(self.silent)

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Count one fault by how the block ends; the next fault is tried in any case."""
        self.tried += 1
        with self.checking(what):
            yield

    @contextmanager
    def checking(self, what: str) -> Iterator[None]:
        """As `trying`, of the consequences of earlier faults."""
        try:
            yield
        except SilentError as error:
            self.silent.append(f"{what}: {error}")
        except Exception:  # noqa: BLE001 - a fault may lead to any
            self.lost.append(f"{what}:\n{traceback.format_exc()}")

    def line(self, name: str) -> str:
        return (
            f"{name:<12} {self.tried:>5} tried, {self.survived:>5} survived, "
            f"{len(self.lost)} lost (must be 0), {len(self.silent)} silent (must be 0)"
        )

    def settle(self, tries: int) -> None:
        """Fail where something was lost or silent since the last call, or fewer faults tried."""
        tried, lost, silent = self._settled
        self._settled = [self.tried, len(self.lost), len(self.silent)]
        stories = [*self.lost[lost:][:_SHOWN], *self.silent[silent:][:_SHOWN]]
        assert not stories, "\n".join(stories)
        assert self.tried - tried >= tries, f"wanted {tries} tries, got {self.tried - tried}"


@dataclass(frozen=True)
class Home:
    """The folder with a model, data and trained weights of these tests."""

    directory: Path

    @property
    def cache(self) -> Path:
        return self.directory / "cache"

    def arguments(self, out: Path, editors: Sequence[str] = EDITORS, *more: str) -> list[str]:
        """Of a run that checkpoints every edit."""
        chosen = [text for text in HPARAMS if _editor(text) in editors]
        return [
            *("run", "--table", "1", "--backbone", str(self.directory / "tiny")),
            *("--data-dir", str(self.directory / "data"), "--datasets", "zsre"),
            *("--encoder", str(self.directory / "encoder"), "--editors", ",".join(editors)),
            *("--edits", ",".join(map(str, EDITS)), "--limit", str(ROWS)),
            *(part for text in chosen for part in ("--hparam", text)),
            *("--checkpoint-edits", "1", "--checkpoint-seconds", "0"),
            *("--jobs", "1", "--out", str(out), *more),
        ]

    def jobs(self, editors: Sequence[str] = EDITORS, edits: Sequence[int] = EDITS) -> list[EditJob]:
        """The same cells as jobs."""
        texts = (text.partition("=") for text in HPARAMS)
        hparams = {name: json.loads(value) if "." in name else value for name, _, value in texts}
        return edit_jobs(
            data_dir=self.directory / "data",
            encoder=str(self.directory / "encoder"),
            hparams={name: value for name, value in hparams.items() if _editor(name) in editors},
            backbone=str(self.directory / "tiny"),
            editors=tuple(editors),
            datasets=("zsre",),
            edits=tuple(edits),
            limit=ROWS,
        )

    @cached_property
    def whole(self) -> Results:
        """Results of the undisturbed grid."""
        out = self.directory / "whole"
        assert main(self.arguments(out)) == 0
        return results(out)


def _editor(text: str) -> str:
    """Whose hyper-parameter, or preset, a text names."""
    return text.partition("=")[0].partition(".")[0]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a test of faults works with."""

    home: Home
    folder: Path  # its own
    tally: Mapping[str, Count]  # by the class of faults, in the order in which they are tried
    count: Count  # of the class that the test's module names
    chance: random.Random  # the same for a test whichever others are run
    patch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def printed(self) -> str:
        """What was printed since the last call."""
        return "".join(self.capsys.readouterr())


def create_home(directory: Path) -> Home:
    """Write a tiny model, an encoder, RECIPE's weights, data and a corpus."""
    save_tiny("llama", directory / "tiny")
    rows = [zsre_row(subject=f"Place {i}", alt=f"Port {i}") for i in range(ROWS)]
    write(directory / "data", "zsre", "test", rows)
    lines = [f"Place {i} lies at the sea, and Port {i} beside it." for i in range(200)]
    (directory / "data" / "corpus.txt").write_text("\n".join(lines), encoding="utf-8")
    preset = hparams_for("recipe", "tiny")
    assert isinstance(preset, RecipeHparams)
    weights = RecipeEditor.untrained(
        tiny_llama(), preset, resources(directory), out=directory / "untrained"
    )
    (directory / "artefacts").mkdir()
    weights.rename(directory / "artefacts" / "recipe-tiny.safetensors")
    return Home(directory)


def results(out: Path) -> Results:
    """All of the records but times and provenance, by key."""
    return {path.stem: untimed(path) for path in ResultStore(out).paths()}


def untimed(path: Path) -> Any:
    record = json.loads(path.read_text(encoding="utf-8"))
    for row in record.get("rows", ()):
        del row["edit_seconds"]
    del record["provenance"], record["digest"]
    return record


def assert_tidy(out: Path) -> None:
    """After tidying no lease and no checkpoint of a killed process is left."""
    assert main(["results", "gc", "--out", str(out)]) == 0
    assert not list((out / "claims").glob("*.json"))
    assert not list((out / "checkpoints").glob("*.safetensors"))
    assert main(["results", "verify", "--out", str(out)]) == 0

"""Files that are not text and names that lead elsewhere, given on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli.main import main
from tests.datasets.example_rows import FILE_NAMES
from tests.evaluation.general_ability.tiny_items import write_sets
from tests.faults.grid import Home, Trial

pytestmark = pytest.mark.faults

FAULTS = "input"
NAMES = ("../elsewhere", "..", "a\0b", "/etc/passwd", "\udcff\udcfe", "a\nb", "x" * 5_000)
# Commands, with `{}` for the odd name.
NAMED = (
    "run --backbone {}",
    "run --editors {}",
    "run --datasets {}",
    "run --editors ft --data-dir {}",
    "run --editors rome --corpus {}",
    "run --editors recipe --encoder {}",
    "run --editors ft --hparam {}",
    "run --editors ft --hparam ft.{}=1",
    "run --editors ft --hparam ft.norm_constraint={}",
    "run --editors ft --hparam ft={}",
    "run --table 2 --editors ft --ability-dir {}",
    "results show {} --out whole",
    "results import {} --out imported",
    "train --editor {}",
    "data show {}",
    "import-weights {}",
    "stats --backbone {}",
)
# These accept any existing folder.
ANY_FOLDER = ("run --editors rome --corpus {}", "run --table 2 --editors ft --ability-dir {}")


def refused(arguments: list[str], trial: Trial, *wanted: str) -> None:
    """Fail unless a command ends with code 2 and one sentence."""
    trial.printed()
    try:
        code = main(arguments)
    except SystemExit as error:  # of argparse
        code = int(error.code or 0)
    printed = trial.capsys.readouterr().err
    lines = printed.splitlines()
    assert code == 2, printed
    assert lines[-1].startswith("error: "), printed
    assert len([line for line in lines if "error" in line]) == 1, printed
    assert all(name in lines[-1] for name in wanted), printed
    assert "Traceback" not in printed


def present(home: Home) -> list[Path]:
    """All files except those of the cache."""
    return sorted(path for path in home.directory.rglob("*") if not path.is_relative_to(home.cache))


def test_odd_names(trial: Trial) -> None:
    assert trial.home.whole
    before = present(trial.home)
    tries = [(command, name) for command in NAMED for name in NAMES]
    for command, name in tries:
        if not (name == ".." and command in ANY_FOLDER):
            with trial.count.trying(f"{command} with {name[:40]!r}"):
                refused([word.replace("{}", name) for word in command.split()], trial)
    assert present(trial.home) == before
    trial.count.settle(len(tries) - len(ANY_FOLDER))


def test_files_that_are_not_text(trial: Trial) -> None:
    out, home = str(trial.folder / "out"), trial.home
    not_utf8 = b'{"text": "\xff\xfe"}\n'
    data = trial.folder / "data" / FILE_NAMES["zsre", "test"]
    data.parent.mkdir()
    for content in (not_utf8, b"\xff", b"\0" * 100, '[{"subject": "ü"}]'.encode("utf-16")):
        with trial.count.trying(f"data {content[:20]!r}"):
            data.write_bytes(content)
            more = "--data-dir", str(data.parent)
            refused(home.arguments(trial.folder / "out", ("ft",), *more), trial, str(data))
        for name in ("corpus.txt", "corpus.jsonl"):
            corpus = trial.folder / name
            corpus.write_bytes(content)
            with trial.count.trying(f"{name} {content[:20]!r}"):
                more = "--corpus", str(corpus)
                trial.printed()
                code = main(home.arguments(trial.folder / "out", ("rome",), *more))
                printed = trial.printed()
                assert code in {0, 1, 2}
                assert code == 0 or str(corpus) in printed, printed
        record = trial.folder / "records.jsonl"
        record.write_bytes(content)
        with trial.count.trying(f"records {content[:20]!r}"):
            trial.printed()
            assert main(["results", "import", str(record), "--out", out]) in {1, 2}
            assert str(record) in trial.printed()
        ability = write_sets(trial.folder / "ability").directory
        assert ability is not None
        (ability / "csqa_validation.jsonl").write_bytes(content)
        with trial.count.trying(f"questions {content[:20]!r}"):
            arguments = [
                *("run", "--table", "2", "--editors", "ft", "--ability-dir", str(ability)),
                *("--backbone", str(home.directory / "tiny"), "--out", out),
                *("--data-dir", str(home.directory / "data"), "--edits", "1"),
            ]
            refused(arguments, trial, "csqa_validation.jsonl")
    assert json.loads(not_utf8.decode("latin-1"))
    trial.count.settle(20)

"""Files that are not text and names that lead elsewhere, given on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli.main import main
from tests.datasets.example_rows import FILE_NAMES
from tests.evaluation.general_ability.tiny_items import write_sets
from tests.faults.grid import Home
from tests.faults.tally import Count

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


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], *wanted: str) -> None:
    """Fail unless a command ends with code 2 and one sentence."""
    capsys.readouterr()
    try:
        code = main(arguments)
    except SystemExit as error:  # of argparse
        code = int(error.code or 0)
    printed = capsys.readouterr().err
    lines = printed.splitlines()
    assert code == 2, printed
    assert lines[-1].startswith("error: "), printed
    assert len([line for line in lines if "error" in line]) == 1, printed
    assert all(name in lines[-1] for name in wanted), printed
    assert "Traceback" not in printed


def present(home: Home) -> list[Path]:
    """All files except those of the cache."""
    return sorted(path for path in home.directory.rglob("*") if not path.is_relative_to(home.cache))


def test_odd_names(home: Home, count: Count, capsys: pytest.CaptureFixture[str]) -> None:
    assert home.whole
    before = present(home)
    tries = [(command, name) for command in NAMED for name in NAMES]
    for command, name in tries:
        if not (name == ".." and command in ANY_FOLDER):
            with count.trying(f"{command} with {name[:40]!r}"):
                refused([word.replace("{}", name) for word in command.split()], capsys)
    assert present(home) == before
    count.settle(len(tries) - len(ANY_FOLDER))


def test_files_that_are_not_text(
    home: Home,
    count: Count,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = str(tmp_path / "out")
    not_utf8 = b'{"text": "\xff\xfe"}\n'
    data = tmp_path / "data" / FILE_NAMES["zsre", "test"]
    data.parent.mkdir()
    for content in (not_utf8, b"\xff", b"\0" * 100, '[{"subject": "ü"}]'.encode("utf-16")):
        with count.trying(f"data {content[:20]!r}"):
            data.write_bytes(content)
            refused([*home.arguments(tmp_path / "out", ("ft",)), "--data-dir", str(data.parent)],
                    capsys, str(data))  # fmt: skip
        for name in ("corpus.txt", "corpus.jsonl"):
            corpus = tmp_path / name
            corpus.write_bytes(content)
            with count.trying(f"{name} {content[:20]!r}"):
                arguments = [*home.arguments(tmp_path / "out", ("rome",)), "--corpus", str(corpus)]
                capsys.readouterr()
                code = main(arguments)
                printed = capsys.readouterr().err
                assert code in {0, 1, 2}
                assert code == 0 or str(corpus) in printed, printed
        record = tmp_path / "records.jsonl"
        record.write_bytes(content)
        with count.trying(f"records {content[:20]!r}"):
            capsys.readouterr()
            assert main(["results", "import", str(record), "--out", out]) in {1, 2}
            assert str(record) in "".join(capsys.readouterr())
        ability = write_sets(tmp_path / "ability").directory
        assert ability is not None
        (ability / "csqa_validation.jsonl").write_bytes(content)
        with count.trying(f"questions {content[:20]!r}"):
            refused(
                ["run", "--table", "2", "--editors", "ft", "--ability-dir", str(ability),
                 "--backbone", str(home.directory / "tiny"), "--out", out,
                 "--data-dir", str(home.directory / "data"), "--edits", "1"],
                capsys, "csqa_validation.jsonl",
            )  # fmt: skip
    assert json.loads(not_utf8.decode("latin-1"))
    count.settle(20)

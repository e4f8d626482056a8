"""Commands are tried on a tiny model and invented data, in a folder of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.cli.main import main
from tests.cli.commands import ROWS, Cli, Refused, Said
from tests.datasets.example_rows import counterfact_row, write, zsre_row
from tests.support.tiny_files import save_tiny


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    write(directory, "zsre", "test", [zsre_row(alt=f"Port {i}") for i in range(ROWS)])
    write(
        directory, "counterfact", "test", [counterfact_row(target_new=f"T{i}") for i in range(ROWS)]
    )
    return directory


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Commands write where they are, and set variables that libraries read when imported."""
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as context:
        context.setenv("HF_HUB_OFFLINE", "1")
        context.setenv("TRANSFORMERS_VERBOSITY", "error")
        yield


@pytest.fixture(autouse=True)
def quick_editors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps an edit; what the editors reach is not the matter here."""
    from editors.ft import FtEditor, FtHparams
    from editors.grace import GraceEditor, GraceHparams

    monkeypatch.setattr(FtEditor, "presets", {"default": FtHparams(layer=None, num_steps=2)})
    monkeypatch.setattr(GraceEditor, "presets", {"default": GraceHparams(layer=None, n_iter=2)})


@pytest.fixture
def run_arguments(backbone: Path, data: Path) -> list[str]:
    return [
        *("run", "--table", "1", "--backbone", str(backbone), "--data-dir", str(data)),
        *("--editors", "ft,grace", "--datasets", "ZSRE,cf", "--edits", "1,2", "--limit", "4"),
        *("--jobs", "1", "--out", "out"),
    ]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*arguments: object) -> Said:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as end:  # argparse exits by itself
            code = int(str(end.code))
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(cli: Cli) -> Refused:
    def refuse(*arguments: object) -> str:
        said = cli(*arguments)
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        return said.err

    return refuse

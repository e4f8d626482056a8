"""The installed wheel works away from the checkout: commands, published tables, assets."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.source import ROOT

pytest.importorskip("hatchling", reason="hatchling builds the wheel; it is in the group `test`")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "-t", "wheel", "-d", str(out), cwd=ROOT)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing but the installed wheel."""
    target = tmp_path_factory.mktemp("site")
    run("-m", "pip", "install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    return target


def run(*arguments: str, cwd: Path | None = None, path: Path | None = None) -> str:
    """Output of this interpreter; with `path` first on the import path."""
    env = dict(os.environ, PYTHONPATH=str(path or ""))
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_packages_and_their_data_only(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"bench", "editors"}
    for table in range(1, 7):
        assert f"bench/_data/published/table{table}.csv" in names
    assert {"bench/store/record.schema.json", "bench/cli/commands.toml"} <= set(names)
    for folder in ("bench", "editors"):
        sources = {str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob("*.py")}
        assert sources <= set(names)


@pytest.mark.parametrize("folder", ["bench/world/assets", "bench/report"])
def test_the_wheel_carries_every_file(wheel: Path, folder: str) -> None:
    files = (p for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix != ".pyc")
    assert {str(p.relative_to(ROOT)) for p in files} <= set(zipfile.ZipFile(wheel).namelist())


def test_published_tables_load_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    code = (
        "import bench, bench.core.published as p; print(bench.__file__);"
        "print([len(p.load(t)) for t in p.TABLES])"
    )
    file, rows = run("-c", code, cwd=tmp_path, path=installed).splitlines()
    assert Path(file).is_relative_to(installed)
    assert rows == "[660, 60, 33, 30, 660, 660]"


def test_the_command_line_runs_from_the_installed_wheel(installed: Path, tmp_path: Path) -> None:
    listing = run("-m", "bench", "list", cwd=tmp_path, path=installed)
    script = str(installed / "bin" / "lifelong-edit-bench")
    assert run(script, "list", cwd=tmp_path, path=installed) == listing
    for name in ("recipe", "ft", "rome", "grace", "zsre", "counterfact", "ripple_edits"):
        assert name in listing

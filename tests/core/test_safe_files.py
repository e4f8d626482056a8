"""Nothing is unpickled and no repository's code is run: weights and records are plain data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source import ROOT, modules

FOLDERS = ("bench", "editors", "benchmarks", "examples", "tests")
# Modules and calls that run code from a file.
UNSAFE_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"torch.load", "torch.save", "pd.read_pickle", "pandas.read_pickle"}
UNSAFE_ARGUMENTS = {"allow_pickle", "trust_remote_code"}
# Archives could name files outside of the folder that they are unpacked in; nothing unpacks any.
UNPACKING = {"extract", "extractall", "unpack_archive"}
# Path (from the repository root) of a file that may, with the reason.
ALLOWED: dict[str, str] = {
    "bench/models/weights/unpickle.py": "the converter of pickled weights, a process of its own",
    "tests/models/weights/test_import_weights.py": "writes files for the converter",
}


def unsafe_uses(tree: ast.AST) -> Iterator[str]:
    """Each unsafe thing that a module does, as its text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            top = str(node.module).partition(".")[0]
            names = {top, *(f"{top}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute):
            names = {ast.unparse(node)}
            if node.attr in UNPACKING:
                yield node.attr
        elif isinstance(node, ast.keyword):
            off = isinstance(node.value, ast.Constant) and node.value.value is False
            names = set() if off else {str(node.arg)}
        else:
            continue
        yield from names & (UNSAFE_MODULES | UNSAFE_CALLS | UNSAFE_ARGUMENTS)


@pytest.mark.parametrize(
    ("source", "uses"),
    [
        ("import pickle", ["pickle"]),
        ("from joblib.memory import Memory", ["joblib"]),
        ("from torch import load", ["torch.load"]),
        ("weights = torch.load(path)", ["torch.load"]),
        ("array = np.load(path, allow_pickle=True)", ["allow_pickle"]),
        ("model = load(name, trust_remote_code=flag)", ["trust_remote_code"]),
        ("array = np.load(path, allow_pickle=False)", []),
        ("'never pickle, never torch.load'", []),
        ("tarfile.open(path).extractall(folder)", ["extractall"]),
        ("shutil.unpack_archive(path)", ["unpack_archive"]),
    ],
)
def test_the_search_finds_what_it_should(source: str, uses: list[str]) -> None:
    assert list(unsafe_uses(ast.parse(source))) == uses


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_module_unpickles_or_runs_remote_code(folder: str) -> None:
    unsafe = {
        path: uses
        for module in modules(folder).values()
        if (path := str(module.path.relative_to(ROOT))) not in ALLOWED
        and (uses := sorted(unsafe_uses(module.tree)))
    }
    assert unsafe == {}


@pytest.mark.parametrize("path", ALLOWED)
def test_what_is_allowed_is_there_and_needs_it(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert set(unsafe_uses(tree)) & {"torch.load", "torch.save"}


def test_the_converter_reads_weights_only() -> None:
    tree = ast.parse((ROOT / "bench/models/weights/unpickle.py").read_text(encoding="utf-8"))
    calls = [
        {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert len(calls) == 1
    assert calls[0]["weights_only"] == "True"
    assert calls[0]["map_location"] == "'cpu'"


def test_no_pickled_file_is_tracked_in_the_packages() -> None:
    suffixes = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt"}
    pickled: list[Path] = [
        path
        for folder in ("bench", "editors")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes
    ]
    assert pickled == []

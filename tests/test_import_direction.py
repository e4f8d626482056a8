"""Imports that no room may have; that they go one way is measured by `benchmarks.structure`."""

from __future__ import annotations

from functools import cache

from benchmarks.structure import ROOMS
from tests.support.source import Module, imports, modules

FLAT = {"bench", "bench.__main__", "bench.api"}  # the Python API and its door

# Sample types and the editor protocol: what parts and the benchmark may both name.
BORDER = "editors.base"


@cache
def sources() -> dict[str, Module]:
    return modules("bench", "editors")


@cache
def every() -> dict[str, set[str]]:
    """What each module imports, for types too."""
    return {name: imports(module, sources(), types=True) for name, module in sources().items()}


def under(package: str, name: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def importers(target: str) -> set[str]:
    return {name for name, found in every().items() if any(under(target, f) for f in found)}


def room(name: str) -> str | None:
    """The room of a module of `bench`, None for others and for the flat ones."""
    parts = name.split(".")
    return parts[1] if parts[0] == "bench" and name not in FLAT else None


def test_the_sources_were_found_and_their_imports_read() -> None:
    assert BORDER in every()["bench.datasets.base"]
    assert "editors.parts.tokens" in every()[BORDER]  # under TYPE_CHECKING
    assert "editors.parts.tokens" not in imports(sources()[BORDER], sources(), types=False)


def test_every_module_of_the_benchmark_is_in_a_room() -> None:
    assert {room(name) for name in sources()} - {None} == set(ROOMS)
    assert {name for name in sources() if name.count(".") == 1 and under("bench", name)} <= (
        FLAT | {f"bench.{name}" for name in ROOMS}
    )


def test_no_room_imports_the_python_api_nor_does_it_import_the_command_line() -> None:
    assert {name for name in importers("bench.api") if room(name) is not None} == set()
    assert not {name for name in every()["bench.api"] if room(name) == "cli"}


def test_only_the_command_line_knows_argparse() -> None:
    knowing = {
        name
        for name, module in sources().items()
        if "argparse" in module.path.read_text(encoding="utf-8")
    }
    assert {name for name in knowing if room(name) != "cli"} == set()


def test_editors_never_import_the_benchmark() -> None:
    assert [name for name in importers("bench") if under("editors", name)] == []


def test_parts_never_import_editors() -> None:
    wrong = {
        name: sorted(above)
        for name, found in every().items()
        if under("editors.parts", name)
        and (above := {f for f in found if not under("editors.parts", f)} - {BORDER, "editors"})
    }
    assert wrong == {}

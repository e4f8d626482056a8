"""Imports go one way: parts, editors, the measuring modules, the driver, the command line."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import pytest

from tests.source import imports, modules

SOURCES = modules("bench", "editors")
EVERY = {name: imports(module, SOURCES, types=True) for name, module in SOURCES.items()}
RUNNING = {name: imports(module, SOURCES, types=False) for name, module in SOURCES.items()}

# Sample types and the editor protocol: what parts and the benchmark may both name.
BORDER = "editors.base"
BELOW_THE_DRIVER = ("bench.datasets", "bench.metrics", "bench.results", "bench.statistics")


def under(package: str, name: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def importers(target: str) -> set[str]:
    return {name for name, found in EVERY.items() if any(under(target, f) for f in found)}


def test_the_sources_were_found_and_their_imports_read() -> None:
    assert "bench.datasets.base" in SOURCES
    assert BORDER in EVERY["bench.datasets.base"]
    assert "editors.parts.tokens" in EVERY[BORDER]  # under TYPE_CHECKING
    assert "editors.parts.tokens" not in RUNNING[BORDER]


def test_editors_never_import_the_benchmark() -> None:
    assert [name for name in importers("bench") if under("editors", name)] == []


def test_parts_never_import_editors() -> None:
    wrong = {
        name: sorted(above)
        for name, found in EVERY.items()
        if under("editors.parts", name)
        and (above := {f for f in found if not under("editors.parts", f)} - {BORDER, "editors"})
    }
    assert wrong == {}


@pytest.mark.parametrize("package", BELOW_THE_DRIVER)
def test_what_the_driver_stands_on_does_not_import_it(package: str) -> None:
    drivers = importers("bench.driver")
    assert [name for name in drivers if under(package, name)] == []


def test_only_command_lines_import_command_lines() -> None:
    lines = {name for name in SOURCES if name.endswith(".cli")}
    for line in lines:
        others = {n for n in importers(line) if n not in lines and not n.endswith("__main__")}
        assert others == set(), f"{line} is imported"


def test_no_import_goes_in_a_circle() -> None:
    try:
        TopologicalSorter(RUNNING).prepare()
    except CycleError as error:
        pytest.fail(f"circle: {' <- '.join(error.args[1])}")

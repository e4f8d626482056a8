"""Names from users and files that become file names, and where they are used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.grids import variant
from bench.core.names import listed_names
from bench.datasets import get_dataset
from bench.models.backbones import locate
from bench.store.results import ResultStore
from bench.world.store import require_assets
from editors import registry
from editors.parts.artefact import artefact_path
from editors.parts.checks import LONGEST, check_file_name

BAD = ["../x", "..", ".", "", " ", "/etc/passwd", "a/b", "a\\b", "a\0b", "a\nb"]
BAD += ["\ud800", "x" * 500]


@pytest.mark.parametrize("name", BAD)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="The name of a thing becomes a file name") as error:
        check_file_name("thing", name)
    assert len(str(error.value)) < 300


@given(st.text(max_size=400))
def test_what_passes_stays_in_its_directory(name: str) -> None:
    directory = Path("/a/b")
    try:
        path = directory / check_file_name("thing", name)
    except ValueError:
        return
    assert path.parent == directory
    assert path.name == name
    assert len(name.encode()) <= LONGEST


@pytest.mark.parametrize(
    "use",
    [
        registry.describe,
        get_dataset,
        variant,
        lambda name: ResultStore(Path("results")).path(name),
        lambda name: require_assets(1, name),
    ],
)
@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a\0b", "x" * 500, "cpt=" + "1" * 300])
def test_no_name_becomes_a_path_unchecked(use: Callable[[str], object], name: str) -> None:
    with pytest.raises(ValueError, match=r"Unknown|becomes a file name"):
        use(name)


def test_names_in_the_name_of_an_artefact(tmp_path: Path) -> None:
    named: list[tuple[str, list[str]]] = [("a\0b", []), ("x" * 500, [])]
    named += [("mini-llama", [f"../{name}"]) for name in ("a\0b", "x" * 500, "..")]
    for backbone, data_sets in named:
        with pytest.raises(ValueError, match="becomes a file name"):
            artefact_path(tmp_path, "recipe", backbone, data_sets)
    assert artefact_path(tmp_path, "recipe", "..", []).parent == tmp_path  # a part of a name


@pytest.mark.parametrize("name", ["../x", "/nowhere/x", "x" * 500, "a\0b"])
def test_a_backbone_that_is_not_there_is_a_sentence(name: str) -> None:
    with pytest.raises((ValueError, OSError)) as error:
        locate(name)
    assert "\n" not in str(error.value)
    assert any(word in str(error.value) for word in ("No model directory", "Unknown", "too long"))


@pytest.mark.parametrize("text", ["", " , ", "a\nb", "a\rb"])
def test_names_are_on_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="expected names separated by commas, got"):
        listed_names(text)
    assert listed_names(' a, "b,c",a ') == ("a", "b,c")

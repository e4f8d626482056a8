"""Model directories that lack a tensor, have one of another shape, or a file that is none."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.models.backbones import load, locate
from tests.conftest import ARCHITECTURES
from tests.faults.damage import emptied, no_text, scrambled, spoil, truncated
from tests.faults.tally import Count
from tests.support.tiny_files import save_tiny

pytestmark = pytest.mark.faults

WEIGHTS = "model.safetensors"
FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
OTHER_JSON = (b"[]", b"null", b'"text"', b"{}")
TRUNCATIONS = 6


def refused(directory: Path, *names: str) -> None:
    """Fail unless loading ends in one sentence with one of some names."""
    try:
        load(locate(str(directory)))
    except (ValueError, OSError) as error:
        said = str(error)
        assert any(name in said for name in names), said
        assert "\n" not in said.strip(), said
    else:
        raise AssertionError("it was loaded")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tensors(architecture: str, tally: defaultdict[str, Count], tmp_path: Path) -> None:
    count, directory = tally["models"], save_tiny(architecture, tmp_path / "tiny")
    load(locate(str(directory)))
    tensors = load_file(directory / WEIGHTS)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    facts = {"format": "pt"}
    for name, tensor in tensors.items():
        rest = {one: other for one, other in tensors.items() if one != name}
        with count.trying(f"{architecture} without {name}"):
            save_file(rest, directory / WEIGHTS, facts)
            refused(directory, name)
        other = torch.zeros([size + 1 for size in tensor.shape])
        with count.trying(f"{architecture} with {name} of another shape"):
            save_file(rest | {name: other}, directory / WEIGHTS, facts)
            refused(directory, name)
    assert len(tensors) > 20
    count.settle(2 * len(tensors))


def test_files(tally: defaultdict[str, Count], chance: random.Random, tmp_path: Path) -> None:
    count = tally["models"]
    sound = save_tiny("llama", tmp_path / "sound")
    directory = tmp_path / "tiny"
    damages = (*[truncated] * TRUNCATIONS, emptied, scrambled)
    for damage in damages:
        shutil.copytree(sound, directory)
        spoil(directory / WEIGHTS, damage, chance)
        with count.trying(f"{damage.__name__} {WEIGHTS}"):
            refused(directory, str(directory))
        shutil.rmtree(directory)
    for name in FILES:
        for damage in (truncated, emptied, scrambled, no_text):
            shutil.copytree(sound, directory)
            spoil(directory / name, damage, chance)
            with count.trying(f"{damage.__name__} {name}"):
                refused(directory, name, str(directory))
            shutil.rmtree(directory)
    for name in ("config.json", "tokenizer.json"):
        for content in OTHER_JSON:
            shutil.copytree(sound, directory)
            (directory / name).write_bytes(content)
            with count.trying(f"{name} with {content!r}"):
                refused(directory, name, str(directory))
            shutil.rmtree(directory)
    count.settle(len(damages) + 4 * len(FILES) + 2 * len(OTHER_JSON))

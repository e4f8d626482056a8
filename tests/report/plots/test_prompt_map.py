"""The data of Figure 4: numbers by hand, and from a tiny model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.config import RunConfig
from bench.models.resources import UntrainedEditorError
from bench.report.plots import prompt_map
from bench.report.prompt_map import (
    MapSettings,
    compute,
    name_vectors,
    names_in,
    nearness,
    tsne,
)
from bench.tables.figure_data import read_map, write_map
from editors.base import EditRequest
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import target_ids
from editors.recipe import RecipeEditor
from tests.datasets.example_rows import counterfact_row, write
from tests.support import tiny_files
from tests.support.records import csv_lines, map_data, source
from tests.support.tiny_files import save_tiny

TINY = RecipeEditor.presets["tiny"]
CHOSEN = MapSettings(
    edits=3, lengths=(1, 2), perplexities=(2,), starts=("pca", 0), drawn_perplexity=2
)

# Names at 0, 2 and 6: the nearest others are 2, 2 and 4 away, their median 2.
NAMES = np.array([[0.0, 0.0], [0.0, 2.0], [0.0, 6.0]])


def test_nearness_by_hand() -> None:
    points = np.array([[0.0, 0.0], [3.0, 2.0], [0.0, 7.0], [4.0, 6.0], [0.0, 16.0]])
    # Nearest names at 0, 3, 1, 4 and 10; over 2: 0, 0.5, 1.5, 2, 5 in order.
    ratios = {"lower_quartile": 0.5, "median": 1.5, "upper_quartile": 2.0}
    assert nearness(points, NAMES) == {"within": 2.0, **ratios}
    assert nearness(points * 8, NAMES * 8) == {"within": 16.0, **ratios}  # whatever the scale


@pytest.mark.parametrize(
    ("points", "names", "sentence"),
    [
        (NAMES[:0], NAMES, "needs points and at least two names, got 0 and 3"),
        (NAMES, NAMES[:1], "needs points and at least two names, got 3 and 1"),
        (NAMES, np.zeros((4, 2)), "coincide"),
    ],
)
def test_distances_that_compare_with_nothing(points: Any, names: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        nearness(points, names)


def test_maps_from_principal_components_are_the_same_and_from_noise_are_not() -> None:
    vectors = np.random.default_rng(0).normal(size=(12, 5))
    assert np.array_equal(
        tsne(vectors, perplexity=3, start="pca"), tsne(vectors, perplexity=3, start="pca")
    )
    first, second = (tsne(vectors, perplexity=3, start=seed) for seed in (0, 1))
    assert first.shape == (12, 2)
    assert not np.allclose(first, second)
    with pytest.raises(ValueError, match="perplexity 3 needs more points, got 3"):
        tsne(NAMES, perplexity=3, start=0)


def test_names_are_taken_once_and_know_what_they_are() -> None:
    requests = [
        EditRequest(prompt="p", target=target, subject=subject)
        for subject, target in (("Ada", "Bo"), ("Bo", "Cy"), ("Ada", "Cy"))
    ]
    assert names_in(requests) == [
        {"text": "Ada", "subject": True, "object": False},
        {"text": "Bo", "subject": True, "object": True},
        {"text": "Cy", "subject": False, "object": True},
    ]


def test_a_name_of_several_tokens_is_their_mean(tiny_lm: LanguageModel) -> None:
    ids = target_ids(tiny_lm.tokenizer, "Ada Pohl")
    assert len(ids) > 1
    table = tiny_lm.module(tiny_lm.architecture.embeddings).get_parameter("weight").numpy()
    (vector,) = name_vectors(tiny_lm, ["Ada Pohl"])
    assert vector == pytest.approx(table[ids].mean(axis=0), abs=1e-6)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A tiny backbone with three edits, and RECIPE's weights for prompts of two tokens only."""
    from bench.models.backbones import load, locate

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIFELONG_EDIT_BENCH_CACHE", str(tmp_path / "cache"))
    hparams = dataclasses.replace(TINY, iterations=10, prompt_length=2)
    monkeypatch.setattr(RecipeEditor, "presets", {"default": hparams})
    backbone = str(save_tiny("llama", tmp_path / "tiny"))
    rows = [
        counterfact_row(subject=name, prompt=f"{name} speaks", target_new=f"{name[::-1]}ish")
        for name in ("Lumo Vand", "Sela Marr", "Otho Lim")
    ]
    path = write(tmp_path / "data", "counterfact", "test", rows)
    resources = tiny_files.resources(tmp_path)
    lm = load(locate(backbone))
    samples = {"counterfact": tiny_files.samples()}
    RecipeEditor.fit(lm, samples, hparams, resources, out=tmp_path / "artefacts")
    encoder = str(resources.encoder)
    return RunConfig(
        backbone=backbone, data_dir=path.parent, encoder=encoder, metrics="teacher_forced"
    )


def test_data_of_the_lengths_that_have_weights(world: RunConfig, tmp_path: Path) -> None:
    data = compute(world, CHOSEN)
    assert data["missing"] == [1]
    assert list(data["cells"]) == ["2"]
    assert set(data["cells"]["2"]["inputs"]) == {"artefact", "encoder"}
    assert len(data["names"]) == 6
    assert np.shape(data["prompts"]["2"]) == (3, 2, 2)
    spaces = [(ratio["space"], ratio.get("start")) for ratio in data["nearness"]]
    assert spaces == [("embeddings", None), ("map", "pca"), ("map", 0)]
    path = write_map(data, tmp_path / "map.json")
    assert read_map(path) == data
    assert write_map(compute(world, CHOSEN), tmp_path / "again").read_bytes() == path.read_bytes()


def test_weights_of_some_length_and_the_drawn_map_are_needed(world: RunConfig) -> None:
    with pytest.raises(UntrainedEditorError, match="RECIPE has no trained weights"):
        compute(world, dataclasses.replace(CHOSEN, lengths=(1,)))
    with pytest.raises(ValueError, match="must be among those"):
        compute(world, dataclasses.replace(CHOSEN, drawn_perplexity=5))


def test_drawing_reads_the_data(tmp_path: Path) -> None:
    data = read_map(write_map(map_data(), tmp_path / "map.json"))
    drawing = prompt_map.build(source([], prompt_map=data))
    lines = csv_lines(drawing)
    assert lines[1] == "subject+object,mini-llama,,,,Ada,0,1,,,,,,,counterfact/blocks/v1"
    assert "prompt,mini-llama,3,1,2,,2.5,0.25,,,,,,,counterfact/blocks/v1" in lines
    assert lines[-1] == "nearness in map,mini-llama,3,,,,,,10,0,2,0.5,1.5,4,counterfact/blocks/v1"
    assert len(lines) == 1 + 2 + (2 * 1 + 2 * 3) + 2 * 3
    assert drawing.notes == ("No weights for prompts of 5 tokens, so they are not here.",)


def test_data_of_another_backbone() -> None:
    data = map_data()
    for cell in data["cells"].values():
        cell["backbone"] = "gpt2-xl"
    with pytest.raises(ValueError, match="are of gpt2-xl, not of mini-llama"):
        prompt_map.build(source([], prompt_map=data))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "holds no data of Figure 4"),
        ("[]", "of schema 1"),
        ('{"schema": 0}', "of schema 1"),
        (json.dumps({**map_data(), "names": None} | {"schema": 2}), "of schema 1"),
        ('{"schema": 1, "names": []}', "lacks settings, cells, missing"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "map.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_map(path)

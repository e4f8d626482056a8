"""Sizes of models by their configurations, and memory by arithmetic, against tiny real editors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from bench.checks.contract.tiny import HIDDEN, REQUESTS, TINY, Subject, write_encoder
from bench.core.names import BACKBONES, ENCODER
from bench.models.backbones import EMBEDDED
from bench.runner.costs.sizes import encoder_shape, shape_of, shape_of_backbone
from bench.world.store import ASSETS
from editors.base import Editor
from editors.malmen import MalmenEditor, MalmenHparams
from editors.mend import MendEditor, MendHparams
from editors.parts.covariance import KeyMoments
from editors.parts.growing_rows import GrowingRows, capacity
from editors.parts.language_model import ARCHITECTURES, LanguageModel
from editors.parts.needs import Needs, Setting
from editors.parts.r_rome.retrieval import RaseNetwork
from editors.parts.recipe.hparams import PRESETS
from editors.r_rome import EditMemory, RRomeEditor, RRomeHparams
from editors.rag import RagEditor, RagHparams
from editors.recipe import RecipeEditor

LLAMA_KIND: dict[str, Any] = {
    "vocab_size": 40, "hidden_size": 24, "intermediate_size": 20, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
}  # fmt: skip
GPT_KIND: dict[str, Any] = {
    "vocab_size": 40, "n_embd": 24, "n_layer": 2, "n_head": 4, "n_positions": 32,
}  # fmt: skip


def stored_parameters(directory: Path) -> int:
    """Of the weights in a directory."""
    with safe_open(directory / "model.safetensors", framework="pt") as file:
        return sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118


@pytest.mark.parametrize(
    ("model_type", "values", "inner", "cached"),
    [
        ("llama", LLAMA_KIND, 20, 2 * 2 * 6),
        ("llama", LLAMA_KIND | {"head_dim": 10}, 20, 2 * 2 * 10),
        ("mistral", LLAMA_KIND, 20, 2 * 2 * 6),
        ("qwen2", LLAMA_KIND, 20, 2 * 2 * 6),
        ("qwen3", LLAMA_KIND, 20, 2 * 2 * 128),
        ("gemma2", LLAMA_KIND, 20, 2 * 2 * 256),
        ("gemma3_text", LLAMA_KIND, 20, 2 * 2 * 256),
        ("olmo2", LLAMA_KIND, 20, 2 * 2 * 6),
        ("gptj", GPT_KIND | {"rotary_dim": 4}, 96, 2 * 24),
        ("gpt2", GPT_KIND | {"n_inner": 20}, 20, 2 * 24),
        ("gpt_neox", LLAMA_KIND, 20, 2 * 24),
    ],
)
def test_every_architecture_has_its_sizes(
    model_type: str, values: dict[str, Any], inner: int, cached: int
) -> None:
    if model_type == "gpt_neox":
        values = {k: v for k, v in values.items() if k != "num_key_value_heads"}
    shape = shape_of({"model_type": model_type} | values, "tiny")
    assert (shape.layers, shape.hidden, shape.heads) == (2, 24, 4)
    assert (shape.vocabulary, shape.context) == (40, 32)
    assert (shape.inner, shape.cached) == (inner, cached)
    assert shape.inputs == len(ARCHITECTURES[model_type].mlp_in)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("llama-2-7b", 6_738_415_616), ("gpt-j-6b", 6_050_882_784), ("gpt2-xl", 1_557_611_200)],
)
def test_the_papers_backbones_have_their_known_totals(name: str, parameters: int) -> None:
    assert shape_of_backbone(name).parameters == parameters


@pytest.mark.parametrize("name", BACKBONES)
def test_a_shipped_backbone_is_as_large_as_its_weights(name: str) -> None:
    for spelling in (name, str(ASSETS / name)):
        assert shape_of_backbone(spelling).parameters == stored_parameters(ASSETS / name)


def test_a_backbone_that_is_not_built_has_the_shape_of_its_like() -> None:
    assert shape_of_backbone(EMBEDDED[-1]).parameters == shape_of_backbone("mini-llama").parameters


def test_encoders() -> None:
    roberta, mini = (encoder_shape(name) for name in ("roberta-base", ENCODER))
    assert roberta.parameters + roberta.pooler == 124_645_632
    assert mini.parameters + mini.pooler == stored_parameters(ASSETS / ENCODER)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "no-such-model"},
        {"model_type": "opt"},
        LLAMA_KIND | {"model_type": "llama", "vocab_size": "x"},
        LLAMA_KIND | {"model_type": "llama", "num_attention_heads": 5},
    ],
)
def test_configurations_that_describe_no_known_model(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="size of this model is unknown"):
        shape_of(config, "this model")


def test_unknown_backbones_and_encoders(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'mini-llama'"):
        shape_of_backbone("mini-lama")
    with pytest.raises(ValueError, match="'roberta-base'"):
        encoder_shape("roberta-bas")
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        shape_of_backbone(str(tmp_path))


def setting_of(lm: LanguageModel, encoder: Path | None = None) -> Setting:
    return Setting(
        shape=shape_of(lm.model.config.to_dict(), lm.name),
        encoder=encoder_shape(ENCODER if encoder is None else str(encoder)),
        dtype="float32",
        singles=False,
    )


def size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.fixture(params=["llama", "gpt2"])
def edited(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A function from an editor's key to (a tiny one after some edits, its needs)."""

    def make(key: str) -> tuple[Editor[Any], Needs]:
        editor = Subject(key=key, architecture=request.param, directory=tmp_path).editor()
        editor.edit(REQUESTS)
        needs = editor.needs(editor.hparams, setting_of(editor.lm, tmp_path / "encoder"))
        assert needs is not None
        return editor, needs

    return make


def part(editor: Editor[Any], start: str) -> list[Tensor]:
    return [value for name, value in editor.state_dict().items() if name.startswith(start)]


GROWING: dict[str, Callable[[Any], Iterable[Tensor]]] = {
    "grace": lambda e: (e.codebook.keys, e.codebook.values, e.codebook.radii),
    "t_patcher": lambda e: e.store.state_dict().values(),
    "lte": lambda e: part(e, "keys"),
    "ike": lambda e: part(e, "keys"),
    "rag": lambda e: part(e, "keys"),
}


@pytest.mark.parametrize("key", GROWING)
def test_what_grows_with_the_edits(key: str, edited: Any) -> None:
    editor, needs = edited(key)
    assert size(GROWING[key](editor)) == len(REQUESTS) * needs.per_edit


def test_recipes_repository_and_artefact(edited: Any) -> None:
    editor, needs = edited("recipe")
    assert size(load_file(editor.resources.artefact).values()) == needs.artefact
    assert size(editor.repository.state_dict().values()) == needs.per_edit * (
        needs.first + len(REQUESTS)
    )
    assert needs.stored(len(REQUESTS)) == 1.5 * editor.repository.allocated


def test_ltes_follower(edited: Any) -> None:
    editor, needs = edited("lte")
    threshold = 2
    assert size(load_file(editor.resources.artefact).values()) - threshold == needs.artefact


def test_alphaedits_keys(edited: Any) -> None:
    editor, needs = edited("alphaedit")
    copies = 2 * 8 * setting_of(editor.lm).shape.inner  # in float64, of one layer
    assert size(part(editor, "past_keys.")) == len(REQUESTS) * (needs.per_edit - copies)
    bases = sum(space.basis.numel() for space in editor.spaces.values()) * 8
    assert bases <= needs.held - size(editor._weights.state_dict().values())


def test_wises_memories(edited: Any) -> None:
    editor, needs = edited("wise")
    side = size([editor.memories.side])
    assert needs.held == 3 * side  # the one in progress, and two until they are merged
    assert needs.per_edit == side / editor.hparams.merge_freq
    merging = dataclasses.replace(editor.hparams, mode="merge")
    assert editor.needs(merging, setting_of(editor.lm)).held == 4 * side
    assert editor.needs(merging, setting_of(editor.lm)).per_edit == 0


def test_ultraedits_weights_and_statistics(edited: Any) -> None:
    editor, needs = edited("ultraedit")
    values = sum(p.d_in * p.d_out for p in editor.projections)
    assert 0 < size(part(editor, "statistics.")) <= needs.held - 4 * values
    assert needs.per_edit == 0
    assert needs.working > 4 * values


def test_ikes_pool(edited: Any) -> None:
    editor, needs = edited("ike")
    rag = RagEditor.needs(RagHparams(), setting_of(editor.lm, editor.resources.encoder))
    assert needs.held - rag.held == editor.hparams.pool * needs.per_edit


def test_r_romes_memory() -> None:
    setting, hparams, memory = (
        setting_of(TINY["llama"]()),
        RRomeEditor.presets["tiny"],
        EditMemory(),
    )
    left, right = torch.zeros(setting.shape.hidden), torch.zeros(setting.shape.inner)
    vector = torch.zeros(hparams.width)
    memory.put("a fact", key=vector, sentence=vector, left=left, right=right)
    needs = RRomeEditor.needs(hparams, setting)
    assert size(memory[name] for name in ("key", "sentence", "left", "right")) == needs.per_edit
    assert size([left, right]) == needs.cached


@pytest.mark.parametrize("architecture", sorted(TINY))
@pytest.mark.parametrize("layers", [None, (1, 2)])
def test_hypernetworks(architecture: str, layers: tuple[int, ...] | None) -> None:
    lm = TINY[architecture]()
    editors: Mapping[Any, Any] = {
        MendEditor: MendHparams(rank=8, layers=layers),
        MalmenEditor: MalmenHparams(rank=8, layers=layers),
    }
    for cls, hparams in editors.items():
        network = cls.new_network(cls.projections(lm, hparams), hparams)
        counted = sum(p.numel() for p in network.parameters())
        assert cls.needs(hparams, setting_of(lm)).trained == counted


def test_recipe_has_the_papers_quarter_of_a_billion_parameters() -> None:
    for name, millions in (("llama-2-7b", 251), ("gpt2-xl", 220)):
        setting = Setting(
            shape=shape_of_backbone(name),
            encoder=encoder_shape("roberta-base"),
            dtype="float32",
            singles=False,
        )
        assert round(RecipeEditor.needs(PRESETS["paper"], setting).trained / 1e6) == millions


@pytest.mark.parametrize("heads", ["trained", "untrained"])
def test_r_romes_heads(heads: Any, tmp_path: Path) -> None:
    hparams = RRomeHparams(layer=1, width=5, heads=heads, highway_layers=3)
    counted = sum(p.numel() for p in RaseNetwork(HIDDEN, hparams).parameters())
    setting = setting_of(TINY["llama"](), write_encoder(tmp_path))
    assert RRomeEditor.needs(hparams, setting).trained == counted


def test_covariances_are_square_in_the_keys_width() -> None:
    lm = TINY["gptj"]()
    sums = KeyMoments(lm, [0, 1], max_length=8).state_dict()
    inner = setting_of(lm).shape.inner
    assert size(v for k, v in sums.items() if k != "counts") == 2 * 8 * inner**2


@pytest.mark.parametrize("rows", [1, 64, 65, 200])
def test_capacity_grows_as_real_rows_do(rows: int) -> None:
    growing = GrowingRows()
    for _ in range(rows):
        growing.append(torch.zeros(3))
    assert growing.allocated == capacity(rows) * 3 * 4

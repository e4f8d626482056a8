"""What editors refuse at construction, and which layers follow from their hyper-parameters."""

from __future__ import annotations

import json
import re
from typing import Any, get_type_hints

import pytest

from bench.checks.contract.tiny import tiny_llama
from editors import registry
from editors.base import Hparams, Resources

# Of each name one bad value: each is tried alone.
IMPOSSIBLE: list[tuple[str, dict[str, Any]]] = [
    ("ft", {"objective": "target", "lr": 0, "num_steps": 0, "norm_constraint": -1}),
    ("rome", {"mode": "easyedti", "v_num_grad_steps": 1, "v_lr": 0.0, "v_weight_decay": -1.0}),
    ("rome", {"clamp_norm_factor": 0.0, "kl_factor": -0.1}),
    ("memit", {"solver": "cashed", "mom2_update_weight": 0.0, "layers": (), "v_num_grad_steps": 1}),
    *(("memit", {"layers": layers}) for layers in ((2, 1), (1, 1))),
    ("alphaedit", {"L2": 0.0, "nullspace_threshold": -1.0, "layers": ()}),
    ("wilke", {"mode": "roll_back", "scanning_ceiling": 0}),
    ("ultraedit", {"lr": 0.0, "forward_batch": 0}),
    ("r_rome", {"v_lr": 0.0, "heads": "trian", "gate": "tuned", "width": 0, "temperature": 0.0}),
    ("r_rome", {"margin": -0.1, "learning_rate": 0.0, "artefact_dtype": "float64"}),
    ("mend", {"mode": "orignal", "rank": 0, "learning_rate": 0, "edit_rate_learning_rate": -1}),
    ("mend", {"patience": 0, "layers": []}),
    ("malmen", {"mode": "exakt", "n_edits": 0, "micro_batch": 0, "weight_locality": -1.0}),
    ("grace", {"replacement": "replace_lst", "eps": 0.0, "eps_unit": "metres", "n_iter": 0}),
    ("lte", {"mode": "authors", "learning_rate": 0, "threshold": -2, "held_out": 0}),
    ("lte", {"weight_locality": -1}),
    ("t_patcher", {"mode": "decoders"}),
    ("ike", {"demonstrations": -1}),
    ("rag", {"form": "qb"}),
    ("wise", {"merge_freq": 5}),  # no multiple of the edits in one memory
    ("recipe", {"pool": "code3", "positions": "moved", "batch_size": 0, "learning_rate": 0.0}),
    ("recipe", {"edit_hinge": -1.0, "weight_locality": -0.5}),
]
CHANGES = [(key, {name: bad}) for key, values in IMPOSSIBLE for name, bad in values.items()]
CHANGES.append(("recipe", {"ramp_end": 4, "ramp_start": 5}))
CHANGES.append(("recipe", {"iterations": 10, "ramp_end": 20}))


@pytest.mark.parametrize(("key", "change"), CHANGES)
def test_an_impossible_value_is_refused_by_its_name(key: str, change: dict[str, Any]) -> None:
    hparams = registry.editor_class(key).presets["default"]
    name = next(iter(change))
    with pytest.raises(ValueError, match=name):
        type(hparams).from_dict(hparams.to_dict() | change)


@pytest.mark.parametrize("key", registry.shipped())
def test_presets_are_read_back_as_they_are(key: str) -> None:
    for preset in registry.editor_class(key).presets.values():
        values = json.loads(json.dumps(preset.to_dict()))
        assert repr(type(preset).from_dict(values)) == repr(preset)


# Values of another type than the field's; none of them is taken for something that it resembles.
FOREIGN: list[tuple[str, dict[str, Any]]] = [
    ("r_rome", {"plus_prompt": "no", "two_way": 1, "temperature": "0.1", "layer": True}),
    ("recipe", {"dropout": 0, "iterations": "20", "batch_size": 8.0, "edit_hinge": [1.2]}),
    ("memit", {"layers": "0,1", "context_lengths": [10, 2.5], "v_lr": None}),
    ("ft", {"num_steps": {}, "lr": True, "layer": {1}, "objective": ["target_new"]}),
]


@pytest.mark.parametrize(
    ("key", "name", "value"), [(k, n, v) for k, values in FOREIGN for n, v in values.items()]
)
def test_a_value_of_another_type_is_refused(key: str, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} .*{re.escape(repr(value))}"):
        changed(key, **{name: value})


def test_words_for_true_false_and_none_mean_what_they_say() -> None:
    switches = [("False", False), ("True", True), ("false", False)]
    assert [vars(changed("r_rome", plus_prompt=text))["plus_prompt"] for text, _ in switches] == [
        wanted for _, wanted in switches
    ]
    assert vars(changed("rome", layer="None"))["layer"] is None
    assert vars(changed("memit", layers=[1, 2]))["layers"] == (1, 2)
    with pytest.raises(ValueError, match="layer must be a whole number or null, got 'True'"):
        changed("rome", layer="True")


def test_whole_numbers_are_numbers() -> None:
    assert repr(vars(changed("ft", lr=1))["lr"]) == "1.0"  # as the preset would have it


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_numbers_are_finite(number: float) -> None:
    for key in registry.shipped():
        hints = get_type_hints(registry.editor_class(key).hparams_class)
        for name in (name for name, hint in hints.items() if hint in (float, float | None)):
            with pytest.raises(ValueError, match=f"{name} must be .*, got {number}"):
                changed(key, **{name: number})
    with pytest.raises(ValueError, match=r"lr must be a number above 0, got inf\."):
        changed("ft", lr=float("inf"))


def changed(key: str, **values: Any) -> Hparams:
    preset = registry.hparams_for(key, "mini-llama")
    return type(preset).from_dict(preset.to_dict() | values)


def of(key: str, **values: Any) -> Hparams:
    hparams: Hparams = registry.editor_class(key).hparams_class.from_dict(values)
    return hparams


@pytest.mark.parametrize(
    ("hparams", "n_layers", "layers"),
    [
        (of("ft", layer=1), 3, ()),
        (of("rome", layer=1), 4, (1,)),
        (of("rome", layer=None), 32, (5,)),
        (of("rome", layer=1, mode="easyedit"), 4, ()),
        (of("r_rome", layer=1), 3, (1,)),
        (of("memit", layers=(0, 2)), 3, (0, 2)),
        (of("memit", layers=None), 32, (4, 5, 6, 7, 8)),
        (of("alphaedit", layers=None), 4, (0, 1)),
        (of("wilke", scanning_ceiling=3), 4, (0, 1, 2)),
        (of("wilke", scanning_ceiling=None), 28, tuple(range(7))),
        (of("wilke", scanning_ceiling=None), 4, (0, 1)),
        (of("wilke", scanning_ceiling=None), 1, (0,)),
    ],
)
def test_covariance_layers(hparams: Hparams, n_layers: int, layers: tuple[int, ...]) -> None:
    assert hparams.covariance_layers(n_layers) == layers
    assert hparams.uses_covariance == bool(layers)


@pytest.mark.parametrize("key", ["memit", "wilke", "alphaedit"])
def test_layers_that_a_model_lacks_are_refused(key: str) -> None:
    name, value = ("scanning_ceiling", 3) if key == "wilke" else ("layers", (0, 2))
    with pytest.raises(ValueError, match=r"Layer 2 .* blocks 0 to 1"):
        of(key, **{name: value}).covariance_layers(2)


@pytest.mark.parametrize("key", ["rome", "memit", "wilke", "alphaedit"])
def test_an_editor_without_its_covariance_is_refused(key: str) -> None:
    lm, label = tiny_llama(), registry.describe(key).label
    with pytest.raises(ValueError, match=f"{label} needs the covariance"):
        registry.get_editor(key, lm, resources=Resources(), preset="default")
    if key == "rome":
        registry.get_editor(key, lm, of(key, layer=1, mode="easyedit"), Resources())


def test_value_editors_name_the_lengths_of_their_contexts() -> None:
    lengths = registry.editor_class("rome").presets["gpt-j-6b"].template_lengths
    assert lengths == (5,) * 10 + (10,) * 10
    assert registry.editor_class("memit").presets["mini-llama"].template_lengths == (10,) * 5

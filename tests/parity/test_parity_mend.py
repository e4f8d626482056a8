"""MEND against the numbers of eric-mitchell/mend.

Not compared, with the reason: `init_editor/*v`, drawn from another generator (its scale is
checked); statistics of editors that saw no row yet, undefined there and zero here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from editors.mend import MendEditor, MendHparams, MendObjective, pseudo_gradient_shift
from editors.parts.hypernetwork.networks import (
    EditorNetwork,
    Factors,
    Hypernetwork,
    LowRankShift,
    Projection,
    gradient_factors,
    shifted,
)
from editors.parts.hypernetwork.training import MetaBatch, locality_kl
from editors.parts.language_model import LanguageModel
from tests.parity.loading import (
    COMPACT,
    Case,
    load_case,
    on_cases,
    recorded_model,
    shape_name,
    whole_row,
)

TOLERANCE = 2e-5  # relative to an array's largest entry, as the numbers' own description asks
STATISTICS = {
    "u_mean": ("mean", 0),
    "v_mean": ("mean", 1),
    "u_std": ("deviation", 0),
    "v_std": ("deviation", 1),
    "u_s": ("squares", 0),
    "v_s": ("squares", 1),
}
WEIGHTS = ("u", "v", "bias", "mode_shift.weight", "mode_scale.weight")


@on_cases(["editor_unit"], ["editor_unit"])
def test_the_editor_network_alone(root: Path, name: str) -> None:
    """Its initial state, statistics, rows left out, pseudo-factors."""
    case = load_case(root, "mend", name)
    hparams = MendHparams(rank=case.info["cfg"]["rank"])
    projections = [
        Projection(str(i), case.info["x_dim"], case.info["delta_dim"], i)
        for i in range(case.info["n_modes"])
    ]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = MendEditor.new_network(projections, hparams)
    editor = network.network_of(projections[0])
    ours = initial_state(case, editor)
    fill(editor, case, "editor_start/")
    ours |= case.held("editor_start/")
    network.edit_rates.requires_grad_(False).fill_(1)
    for step in case.info["steps"]:
        stem = f"step{step['step']}/"
        network.train(step["training"])
        factors = Factors(case[stem + "u"], case[stem + "v"])
        shift, out_u, out_v = pseudo_gradient_shift(network, step["mode"], factors, systems=1)
        assert len(out_u) == step["n_rows_kept"]
        actual = {"u": factors.inputs, "v": factors.gradients, "out_u": out_u, "out_v": out_v}
        actual["pseudo_grad_in_out"] = shift.matrices()[0]
        actual |= {f"stat_{name}": value for name, value in statistics(editor).items()}
        ours |= {stem + name: array(value) for name, value in actual.items()}
    case.compare_scaled(ours, lambda _: TOLERANCE)


def initial_state(case: Case, editor: EditorNetwork) -> dict[str, Any]:
    """What a new editor holds; where nothing comparable is recorded, the recorded value itself."""
    assert float(editor.statistics.count) == 0
    ours = {}
    for key in (key for key in case.arrays if key.startswith("init_editor/")):
        name = key.removeprefix("init_editor/")
        if name in STATISTICS or name == "k":
            assert bool(case[key].isnan().all())
            ours[key] = case.arrays[key]
        elif name.endswith(".v"):
            drawn = parameter(editor, name)
            # The ratio of two sample deviations errs by about 1 / sqrt(n); four times that.
            error = 4 / drawn.numel() ** 0.5
            assert torch.allclose(case[key].std(), drawn.std(), rtol=error)
            ours[key] = case.arrays[key]
        else:
            ours[key] = array(parameter(editor, name))
    return ours


@on_cases(["llama_full"], ["llama_full"])
def test_three_edits_of_a_tiny_llama(root: Path, name: str) -> None:
    """Factors, updates, logits, losses and outer gradients."""
    case = load_case(root, "mend", name)
    lm = recorded_model(root, case)
    hparams = MendHparams(layers=(1, 2), rank=case.info["editor_cfg"]["rank"])
    objective = MendObjective(lm, network_of(case, lm, hparams), hparams)
    ours = case.held("weights/", "editor/", "edit_lrs")
    for edit in case.info["edits"]:
        objective.network.train(edit["training"])
        actual = one_edit(case, objective, edit)
        ours |= {f"edit{edit['edit']}/{name}": array(value) for name, value in actual.items()}
    case.compare_scaled(ours, lambda _: TOLERANCE)


def one_edit(case: Case, objective: MendObjective, edit: Mapping[str, Any]) -> dict[str, Tensor]:
    """Everything recorded of one edit of the unedited model."""
    lm, network = objective.lm, objective.network
    row = whole_row(edit["prompt_ids"], edit["target_ids"])
    count = len(edit["target_ids"])
    factors = gradient_factors(lm, network.projections, row, torch.full((count,), 1 / count))
    actual: dict[str, Tensor] = {}
    shifts: dict[str, LowRankShift] = {}
    for number, projection in enumerate(network.projections):
        path, name = projection.path, f"{projection.path}.weight"
        shifts[path], u, v = pseudo_gradient_shift(network, number, factors[path], systems=1)
        change = projection.delta(lm, shifts[path].matrices()[0]).value
        actual |= {f"raw_u/{name}": factors[path].inputs, f"factor_u/{name}": u}
        actual |= {f"raw_delta/{name}": factors[path].gradients, f"factor_v/{name}": v}
        actual[f"update_added_to_weight/{name}"] = change
        actual[f"pseudo_grad/{name}"] = change / network.edit_rates[number]
    actual |= {
        f"stats/{shape_name(p)}/{name}": value
        for p in network.projections
        for name, value in statistics(network.network_of(p)).items()
        if not name.endswith("_s")
    }
    (loc_ids,) = case.info["loc_ids"]
    loc = whole_row(loc_ids, [])
    with torch.no_grad(), shifted(lm, shifts):
        actual["logits_post_edit_prompt"] = lm.logits(row)
        actual["logits_loc_post"] = lm.logits(loc)
    with torch.no_grad():
        actual["logits_loc_pre"] = lm.logits(loc)
    return actual | outer(objective, edit, loc_ids, shifts)


def outer(
    objective: MendObjective,
    edit: Mapping[str, Any],
    loc_ids: list[int],
    shifts: Mapping[str, LowRankShift],
) -> dict[str, Tensor]:
    """Gradients of the outer loss, whose terms are compared with the recorded ones."""
    network, rows = objective.network, [(edit["prompt_ids"], edit["target_ids"])]
    unrelated = [(loc_ids, [0])]  # a last token that is not fed: all positions are those of the ids
    batch = MetaBatch(edits=rows, rephrases=rows, unrelated=unrelated, systems=1)
    terms = objective.losses(batch, shifts)
    total = objective.hparams.total(*terms)
    recorded = [edit["l_edit_post"], edit["l_loc"], edit["l_total"]]
    np.testing.assert_allclose([x.item() for x in (*terms, total)], recorded, rtol=TOLERANCE)
    network.zero_grad()
    total.backward()
    assert network.edit_rates.grad is not None
    actual = {"outer_grad/edit_lrs": network.edit_rates.grad}
    for projection in network.projections:
        editor = network.network_of(projection)
        for name in (f"mlp.layers.{block}.{part}" for block in range(2) for part in WEIGHTS):
            gradient = parameter(editor, name, gradient=True)
            actual[f"outer_grad/{shape_name(projection)}/{name}"] = gradient
    return actual


def test_the_easyedit_mode_compares_the_locality_answer_alone() -> None:
    case = load_case(COMPACT, "mend", "llama_full")
    lm = recorded_model(COMPACT, case)
    hparams = MendHparams(layers=(1, 2), rank=8, mode="easyedit", patience=None)
    objective = MendObjective(lm, network_of(case, lm, hparams), hparams)
    edit, other = ([5, 17, 80], [33, 120]), ([9, 8, 7], [150, 151])
    batch = MetaBatch(edits=[edit], rephrases=[other], unrelated=[other], systems=1)
    shifts = objective.shifts(batch)
    scored, drift = objective.losses(batch, shifts)
    with shifted(lm, shifts):
        logits = lm.logits(whole_row(*edit))[0, 2:4].log_softmax(-1)
    torch.testing.assert_close(scored, -(logits[0, 33] + logits[1, 120]) / 2)
    everywhere = locality_kl(lm, [other], shifts, 1, "all")
    assert not torch.isclose(drift, everywhere, rtol=1e-3)


def network_of(case: Case, lm: LanguageModel, hparams: MendHparams) -> Hypernetwork:
    projections = MendEditor.projections(lm, hparams)
    names = [f"{projection.path}.weight" for projection in projections]
    assert names == case.info["inner_params"]
    modes = [[shape_name(projection), projection.index] for projection in projections]
    assert modes == [case.info["shape_key_and_mode"][name] for name in names]
    with torch.random.fork_rng():
        network = MendEditor.new_network(projections, hparams)
    network.edit_rates.data.copy_(case["edit_lrs"])
    for projection in projections:
        fill(network.network_of(projection), case, f"editor/{shape_name(projection)}/")
    return network


def fill(editor: EditorNetwork, case: Case, stem: str) -> None:
    """Take the recorded weights of an editor that has seen no row."""
    assert bool(case[stem + "k"].isnan())
    with torch.no_grad():
        for name in (f"mlp.layers.{block}.{part}" for block in range(2) for part in WEIGHTS):
            parameter(editor, name).copy_(case[stem + name])


def parameter(editor: EditorNetwork, name: str, *, gradient: bool = False) -> Tensor:
    """The tensor that the reference calls `name`, in its orientation, or its gradient."""
    _, _, block, part = name.split(".", 3)
    ours = {
        "u": "up",
        "v": "down",
        "bias": "bias",
        "mode_shift.weight": "shift",
        "mode_scale.weight": "scale",
    }[part]
    actual = editor.blocks[int(block)].get_parameter(ours)
    tensor = actual.grad if gradient else actual.data
    assert tensor is not None
    return tensor.mT if part in {"u", "v"} else tensor


def statistics(editor: EditorNetwork) -> dict[str, Tensor]:
    actual = {
        name: getattr(editor.statistics, ours).split(editor.widths)[side]
        for name, (ours, side) in STATISTICS.items()
    }
    return actual | {"k": editor.statistics.count}


def array(value: Tensor) -> np.ndarray[Any, Any]:
    return value.detach().clone().numpy()

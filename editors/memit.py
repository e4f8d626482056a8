"""MEMIT: many facts at once, spread over several MLPs ("Mass-Editing Memory", Meng et al., 2023).

Written after the paper and the public implementation kmeng01/memit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from editors.base import Resources
from editors.parts.checks import check_above, check_choice
from editors.parts.key_solver import KeySolver, Solver
from editors.parts.language_model import LanguageModel
from editors.parts.needs import Needs, Setting
from editors.parts.spreading import SpreadHparams, SpreadingEditor
from editors.parts.value_optimisation import value_rows


@dataclass(frozen=True, kw_only=True)
class MemitHparams(SpreadHparams):
    """Defaults are EasyEdit's for LLaMA-2-7B."""

    mom2_update_weight: float = 15_000.0  # lambda: how many old keys the covariance stands for
    solver: Solver = "cached"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_above("mom2_update_weight", self.mom2_update_weight, 0)
        check_choice("solver", self.solver, Solver)


# Ours: layers and weight that benchmarks/choose_hparams.py found on training edits.
MINIATURE = MemitHparams(layers=(0, 1), mom2_update_weight=50.0)


class MemitEditor(SpreadingEditor[MemitHparams]):
    """Spreads facts over several layers, sparing the old keys that the covariance stands for.

    Requests of one call are solved for together; calls follow each other on the weights as edited
    so far, with the covariance and the templates of the pristine model. Without templates in the
    resources, the bare prompt is the only context.
    """

    family = "MP"
    label: ClassVar[str] = "MEMIT"
    table_row = 4
    mark = ("#E69F00", "v")
    uses_subject: ClassVar[bool] = True
    hparams_class = MemitHparams
    presets: ClassVar[Mapping[str, MemitHparams]] = {
        # kmeng01/memit hparams/MEMIT/{gpt2-xl,EleutherAI_gpt-j-6B}.json
        "gpt2-xl": MemitHparams(
            layers=(13, 14, 15, 16, 17),
            v_num_grad_steps=20,
            v_weight_decay=0.5,
            clamp_norm_factor=0.75,
            mom2_update_weight=20_000.0,
        ),
        "gpt-j-6b": MemitHparams(
            layers=(3, 4, 5, 6, 7, 8), v_weight_decay=0.5, clamp_norm_factor=0.75
        ),
        # zjunlp/EasyEdit hparams/MEMIT/llama-7b.yaml
        "llama-2-7b": MemitHparams(layers=(4, 5, 6, 7, 8)),
        "mini-llama": MINIATURE,
        "mini-gpt2": replace(MINIATURE, layers=(0,), mom2_update_weight=500.0),
        "mini-gptj": replace(MINIATURE, layers=(1,), mom2_update_weight=500.0),
        "default": MemitHparams(layers=None),
    }

    @classmethod
    def needs(cls, hparams: MemitHparams, on: Setting) -> Needs:
        """For each layer a factor [m, m] in float64 and two copies of the projection."""
        shape, layers = on.shape, hparams.covariance_layers(on.shape.layers)
        square, copies = shape.inner**2, len(layers) * on.copies(shape.matrix)
        factors = 0.0 if hparams.solver == "isotropic" else len(layers) * 8.0 * square
        edit = on.backward(value_rows(hparams, on), layers[-1])
        return Needs(
            held=factors + copies,
            working=max(edit, copies + 8.0 * shape.matrix, (8.0 + 4.0) * square),
        )

    def __init__(self, lm: LanguageModel, hparams: MemitHparams, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        if resources.covariance is None:
            raise ValueError("MEMIT needs the covariances of its layers' keys in its resources.")
        self._solve = KeySolver(resources.covariance, hparams.mom2_update_weight, hparams.solver)

    def solved(self, layer: int, keys: Tensor) -> Tensor:
        """(lambda C + K K^T)^-1 K [m, n] for keys [m, n] of a layer."""
        return self._solve(layer, keys)

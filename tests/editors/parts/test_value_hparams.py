from __future__ import annotations

from typing import Any

import pytest

from editors.parts.value_hparams import ValueHparams
from editors.parts.value_optimisation import ValueSettings


def test_the_optimisation_gets_its_part() -> None:
    hparams = ValueHparams(
        v_num_grad_steps=7, v_lr=0.1, v_weight_decay=0.2, clamp_norm_factor=3, kl_factor=0.4
    )
    assert hparams.value_settings() == ValueSettings(
        v_num_grad_steps=7, v_lr=0.1, v_weight_decay=0.2, clamp_norm_factor=3, kl_factor=0.4
    )
    assert ValueHparams(context_lengths=(4, 5)).template_lengths == (4, 5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v_num_grad_steps", 1),
        ("v_lr", 0),
        ("v_weight_decay", -1.0),
        ("clamp_norm_factor", 0.0),
        ("kl_factor", -0.1),
    ],
)
def test_impossible_settings_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} must be a number"):
        ValueHparams(**{field: value})

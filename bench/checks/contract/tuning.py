"""What makes this package's editors tell on models that small and random, in little time.

Beside the preset `tiny`, where an editor has one.
"""

from __future__ import annotations

from typing import Any

TUNING: dict[str, dict[str, Any]] = {
    "ft": {"lr": 2e-2, "num_steps": 6},
    "rome": {"v_weight_decay": 0.0, "clamp_norm_factor": 20.0, "v_num_grad_steps": 10},
    "memit": {
        "v_weight_decay": 0.0,
        "clamp_norm_factor": 20.0,
        "v_num_grad_steps": 10,
        "mom2_update_weight": 1.0,
    },
    "wilke": {"v_weight_decay": 0.0, "clamp_norm_factor": 60.0, "v_lr": 1.0},
    "grace": {"n_iter": 8},
    "t_patcher": {"lr": 5e-2, "memory_weight": 0.01},
    "alphaedit": {
        "v_weight_decay": 0.0,
        "clamp_norm_factor": 20.0,
        "v_num_grad_steps": 10,
        "nullspace_threshold": 1e6,
        "L2": 0.1,
    },
    "ultraedit": {"lr": 1e-2},
    "wise": {
        "n_iter": 8,
        "alpha": 0.5,
        "beta": 2.0,
        "gamma": 1.0,
        "act_ratio": 0.1,
        "mask_ratio": 0.5,
    },
    "lte": {"iterations": 40, "checkpoint_interval": 40, "threshold": 0.98},
    "r_rome": {
        "v_weight_decay": 0.0,
        "clamp_norm_factor": 20.0,
        "v_num_grad_steps": 10,
        "iterations": 60,
        "checkpoint_interval": 60,
        "learning_rate": 4e-3,
    },
    "recipe": {
        "iterations": 60,
        "checkpoint_interval": 60,
        "ramp_start": 0,
        "ramp_end": 0,
        "learning_rate": 4e-3,
        "dropout": False,
        "contrastive_hinge": None,
        "edit_hinge": None,
        "sim": "plain",
        "selection": "ema",
    },
}

"""Make the compact selection of recorded numbers from the directory that holds all of them.

    python -m tests.parity.select_compact DIRECTORY

Run by hand, when cases are added; the result is committed.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import numpy as np

from tests.parity.loading import COMPACT

# Case -> pattern of the arrays that stay behind, because others imply them.
_ROME = r"eval.*|weight_before|.*weight_update|cov|inv_cov_used|.*k_mean"
_FT = r"eval.*|before\|.*"
_GRACE_LLAMA = r"edit[0-3]/logits.*|edit4/logits/[23]|logits_pre/[1-3]"
_GRACE_GPT2 = rf"{_GRACE_LLAMA}|weights/lm_head.*"
# GRACE's LLaMA case has the same weights; what edit 1 and the first halves imply stays behind.
_MEND = (
    r"weights/.*|.*/pseudo_grad/.*|edit1/(raw|factor|outer).*|edit[01]/(update|logits).*"
    r"|edit0/outer.*|edit2/(raw.*|logits_loc_pre)"
)
_MALMEN = r"weights/.*|edited_logits/edit/0"
CASES = {
    "rome/gpt2_seq3_f64": _ROME,
    "rome/gpt2_rrome_prefixkeys_f64": _ROME,
    "rome/gpt2_rrome_promptkeys_f64": _ROME,
    "rome/gpt2_nocov_f64": _ROME,
    "rome/llama_single_f64": _ROME,
    "ft/gpt2_promptlast_constrained_f64": _FT,
    "ft/gpt2_targetnew_batch3_leftpad_f64": _FT,
    "ft/llama_promptlast_unconstrained_BOSQUIRK_f64": _FT,
    "grace/orig_gpt2_replace_last_cold": _GRACE_GPT2,
    "grace/easyedit_llama_replace_last_cold": _GRACE_LLAMA,
    "mend/editor_unit": r"",
    "mend/llama_full": _MEND,
    "malmen/llama_full": _MALMEN,
}
# Arrays of the shared inputs that the cases above need.
COMMON = {
    "gpt2_weights": r".*",
    "llama_weights": r".*",
    "covariances": r"(gpt2|llama)_layer1",
}
PLAIN = ("malmen/normal_equation_unit",)  # arrays without a description


def main(source: Path) -> None:
    """Write the selection beside this module."""
    for name, dropped in CASES.items():
        _copy_arrays(source, name, rf"(?!(?:{dropped})$).*")
        shutil.copyfile(source / f"{name}.json", COMPACT / f"{name}.json")
    for name in PLAIN:
        _copy_arrays(source, name, r".*")
    for name, kept in COMMON.items():
        _copy_arrays(source, f"common/{name}", kept)
    for name in ("model_configs.json", "tokenizer_gpt2", "tokenizer_llama"):
        _copy(source / "common" / name, COMPACT / "common" / name)


def _copy_arrays(source: Path, name: str, kept: str) -> None:
    target = COMPACT / f"{name}.npz"
    target.parent.mkdir(parents=True, exist_ok=True)
    with np.load(source / f"{name}.npz") as arrays:
        np.savez_compressed(
            target, **{key: arrays[key] for key in arrays.files if re.fullmatch(kept, key)}
        )


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

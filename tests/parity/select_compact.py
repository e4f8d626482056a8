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

# Case -> pattern of the arrays that are left out, because others imply them.
_ROME = r"eval.*|weight_before|.*weight_update|cov|inv_cov_used|.*k_mean"
_MEMIT = r"eval.*|.*weight_(before|update)|layer\d_cov|batch[01]_layer\d_weight_after"
_MEMIT_LLAMA = r"eval.*|.*weight_(before|update)|layer\d_cov|.*_delta_(grads|after.*)"
_WILKE = (
    r"eval.*|.*weight_before|layer\d_cov|edit[12]_candidate.*|edit[01]_layer\d_weight_after"
    r"|.*layer2_weight_after"
)
_FT = r"eval.*|before\|.*"
_GRACE_LLAMA = r"edit[0-3]/logits.*|edit4/logits/[23]|logits_pre/[1-3]"
_GRACE_GPT2 = rf"{_GRACE_LLAMA}|weights/lm_head.*"
# GRACE's LLaMA case has the same weights; what edit 1 and the first halves imply is left out.
_MEND = (
    r"weights/.*|.*/pseudo_grad/.*|edit1/(raw|factor|outer).*|edit[01]/(update|logits).*"
    r"|edit0/outer.*|edit2/(raw.*|logits_loc_pre)"
)
_MALMEN = r"weights/.*|edited_logits/edit/0"
_ALPHAEDIT = (
    r"eval.*|.*weight_(before|update)|batch[01]_layer\d_weight_after|.*_(cache_after|keys_for_cache)"
    r"|.*_projection|.*_delta_(grads|after.*)|.*_solution"
)
_ALPHAEDIT_LLAMA = _ALPHAEDIT.replace("batch[01]", "batch1")
_ULTRAEDIT = r"eval.*|.*weight_before|.*shift.*|turn[01]_.*(weight_after|keys|output_grads)"
# What an edit trained is in its memory, or in what that was merged into; all routes stay.
_WISE = r"eval\d_logits.*|edit\d_eval[1-8].*|edit[01]_eval0.*|.*_(masked_grad.*|last_trained.*)"
_WISE_MERGE = rf"{_WISE}|weight_original|edit2_eval0.*|edit[0-2]_(side|main|memory).*weight.*"
_WISE_RETRIEVE = rf"{_WISE}|weight_original|edit[01]_(side|main|memory).*weight.*"
_WISE_STOP = r"eval\d_logits.*|edit\d_eval[1-8].*|.*_(masked_grad.*|last_trained.*)"
CASES = {
    "rome/gpt2_seq3_f64": _ROME,
    "rome/gpt2_rrome_prefixkeys_f64": _ROME,
    "rome/gpt2_rrome_promptkeys_f64": _ROME,
    "rome/gpt2_nocov_f64": _ROME,
    "rome/llama_single_f64": _ROME,
    "memit/gpt2_seq3_f64": _MEMIT,
    "memit/llama_batch3_f64": _MEMIT_LLAMA,
    "wilke/gpt2_seq3_f64": _WILKE,
    "rase/gate": "",
    "ft/gpt2_promptlast_constrained_f64": _FT,
    "ft/gpt2_targetnew_batch3_leftpad_f64": _FT,
    "ft/llama_promptlast_unconstrained_BOSQUIRK_f64": _FT,
    "grace/orig_gpt2_replace_last_cold": _GRACE_GPT2,
    "grace/easyedit_llama_replace_last_cold": _GRACE_LLAMA,
    "tpatcher/decoder_variant_llama": r"edit0/logits/.*|edit1/logits/[1-3]|logits_pre/.*",
    "mend/editor_unit": r"",
    "mend/llama_full": _MEND,
    "malmen/llama_full": _MALMEN,
    "alphaedit/gpt2_seq3_f64": _ALPHAEDIT,
    "alphaedit/llama_batch3_f64": _ALPHAEDIT_LLAMA,
    "ultraedit/gpt2_3turns_f64": _ULTRAEDIT,
    "ultraedit/llama_gateup_3turns_f64": _ULTRAEDIT,
    "wise/gpt2_merge_mode_4edits_f64": _WISE_MERGE,
    "wise/llama_retrieve_3memories_f64": _WISE_RETRIEVE,
    "wise/llama_earlystop_f64": _WISE_STOP,
}
# Arrays of the shared inputs that the cases above need.
COMMON = {"gpt2_weights": r".*", "llama_weights": r".*", "covariances": r"(gpt2|llama)_layer[01]"}
PLAIN = ("malmen/normal_equation_unit", "tpatcher/loss_units")  # arrays without a description


def main(source: Path) -> None:
    """Write the selection beside this module."""
    for name, dropped in CASES.items():
        _copy_arrays(source, name, rf"(?!(?:{dropped})$).*")
        shutil.copyfile(source / f"{name}.json", COMPACT / f"{name}.json")
    for name in PLAIN:
        _copy_arrays(source, name, r".*")
    for name, chosen in COMMON.items():
        _copy_arrays(source, f"common/{name}", chosen)
    for name in ("model_configs.json", "tokenizer_gpt2", "tokenizer_llama"):
        _copy(source / "common" / name, COMPACT / "common" / name)


def _copy_arrays(source: Path, name: str, chosen: str) -> None:
    target = COMPACT / f"{name}.npz"
    target.parent.mkdir(parents=True, exist_ok=True)
    with np.load(source / f"{name}.npz") as arrays:
        np.savez_compressed(
            target, **{key: arrays[key] for key in arrays.files if re.fullmatch(chosen, key)}
        )


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

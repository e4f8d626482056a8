"""Recorded numbers of public implementations, as models and arrays.

Two selections of the same files exist: the compact one beside this module, which always runs, and
the full one in the directory that the environment variable `EDIT_BENCH_PARITY` names. See
`compact/README.md` for where the numbers come from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from editors.parts.language_model import LanguageModel

COMPACT = Path(__file__).parent / "compact"
# Cases whose models MEND's and MALMEN's were recorded on too.
_SHARED = {"llama": "easyedit_llama_replace_last_cold"}
VARIABLE = "EDIT_BENCH_PARITY"


@dataclass(frozen=True)
class Case:
    """One recorded run: its description and its arrays, of which a compact file holds a part."""

    name: str
    info: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray[Any, Any]]

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def compare(
        self,
        ours: Mapping[str, Any],
        *,
        atol: float,
        rtol: Callable[[str], float] = lambda _: 0.0,
    ) -> None:
        """Check every recorded array but the prompts' ids; one that `ours` lacks is a failure.

        `rtol` gives by name a tolerance relative to the array's largest entry: entries that cancel
        to almost nothing carry the rounding of what they were made of, which differs from one
        processor to another.
        """
        for name, recorded in self.arrays.items():
            if name.startswith("eval") and name.endswith("_input_ids"):
                continue
            assert name in ours, f"{self.name}: {name} was not computed"
            actual = np.asarray(ours[name])
            assert actual.shape == recorded.shape, f"{self.name}: {name}"
            share = rtol(name)
            allowed = atol + (share * np.abs(recorded.astype(float)).max() if share else 0.0)
            np.testing.assert_allclose(
                actual, recorded, atol=allowed, rtol=0, err_msg=f"{self.name}: {name}"
            )

    def compare_scaled(self, ours: Mapping[str, Any], tolerance: Callable[[str], float]) -> None:
        """Check every recorded array relative to its largest entry, with a tolerance by name."""
        for name, recorded in self.arrays.items():
            assert name in ours, f"{self.name}: {name} was not computed"
            close(f"{self.name}: {name}", ours[name], recorded, tolerance(name))

    def require(self, *names: str) -> None:
        """Check that arrays which a test relies on are recorded at all."""
        missing = [name for name in names if name not in self.arrays]
        assert not missing, f"{self.name} lacks {missing}"


def close(name: str, ours: Any, recorded: Any, tolerance: float) -> None:
    """Check an array relative to its largest recorded entry; NaN where NaN is recorded."""
    actual, wanted = np.asarray(ours, dtype=float), np.asarray(recorded, dtype=float)
    assert actual.shape == wanted.shape, name
    scale = np.nanmax(np.abs(wanted)) if np.isfinite(wanted).any() else 0.0
    np.testing.assert_allclose(actual, wanted, atol=tolerance * scale, rtol=0, err_msg=name)


def full_directory() -> Path:
    """The directory with all cases; the test is skipped where the variable is not set."""
    directory = os.environ.get(VARIABLE)
    if directory is None:
        pytest.skip(f"{VARIABLE} names no directory of all recorded numbers")
    return Path(directory)


def load_case(root: Path, editor: str, name: str) -> Case:
    """A case of `<root>/<editor>/`; a missing file is a failure, never a skip."""
    stem = root / editor / name
    with np.load(stem.with_suffix(".npz")) as arrays:
        values = {key: arrays[key] for key in arrays.files}
    return Case(name, json.loads(stem.with_suffix(".json").read_text("utf-8")), values)


def load_arrays(path: Path) -> dict[str, Tensor]:
    """All arrays of an .npz file."""
    with np.load(path) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def load_common_model(root: Path, kind: str, dtype: torch.dtype) -> LanguageModel:
    """The tiny GPT-2 or LLaMA of `<root>/common/`, with its tokenizer."""
    common = root / "common"
    sizes = json.loads((common / "model_configs.json").read_text("utf-8"))[kind]
    model = build_model(kind, sizes)
    return with_weights(
        model,
        load_arrays(common / f"{kind}_weights.npz"),
        _tokenizer(common / f"tokenizer_{kind}", sizes),
        dtype,
    )


def recorded_weights(root: Path, case: Case) -> dict[str, Tensor]:
    """Model weights of a case, `weights/*`; a compact one may share those of a GRACE case."""
    stem = "weights/"
    held = {name.removeprefix(stem): case[name] for name in case.arrays if name.startswith(stem)}
    if held:
        return held
    shared = load_arrays(root / "grace" / f"{_SHARED[case.info['model_config']['model_type']]}.npz")
    return {name.removeprefix(stem): x for name, x in shared.items() if name.startswith(stem)}


def build_model(kind: str, sizes: Mapping[str, Any]) -> PreTrainedModel:
    """A randomly initialised model of a recorded configuration; the global generator is kept."""
    with torch.random.fork_rng():
        model = _gpt2(sizes) if kind == "gpt2" else _llama(sizes)
    model.set_attn_implementation("eager")  # as recorded
    return model


def with_weights(
    model: PreTrainedModel,
    weights: Mapping[str, Tensor],
    tokenizer: PreTrainedTokenizerFast,
    dtype: torch.dtype,
) -> LanguageModel:
    """The model with recorded weights; a tied head may be absent from them.

    Only parameters change their dtype: rotary frequencies stay in float32, as recorded.
    """
    missing, unexpected = model.load_state_dict(dict(weights), strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return LanguageModel(model, tokenizer)


def _gpt2(sizes: Mapping[str, Any]) -> PreTrainedModel:
    names = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner")
    config = GPT2Config(
        **{name: sizes[name] for name in names},
        activation_function="gelu_new",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config)


def _llama(sizes: Mapping[str, Any]) -> PreTrainedModel:
    names = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "max_position_embeddings",
        "rms_norm_eps",
    )
    config = LlamaConfig(
        **{name: sizes[name] for name in names},
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def _tokenizer(directory: Path, sizes: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(directory / "tokenizer.json"))
    for role in ("bos", "eos", "pad"):
        token = tokenizer.convert_ids_to_tokens(sizes[role])
        tokenizer.add_special_tokens({f"{role}_token": token})
    assert len(tokenizer) == sizes["vocab_size"]
    return tokenizer


@torch.no_grad()
def recorded_logits(lm: LanguageModel, case: Case, when: str) -> dict[str, Tensor]:
    """Logits of a case's evaluation prompts, named as recorded: `eval0_logits_<when>`."""
    return {
        name.replace("input_ids", f"logits_{when}"): lm.model(input_ids=case[name][None]).logits[0]
        for name in case.arrays
        if name.startswith("eval") and name.endswith("_input_ids")
    }

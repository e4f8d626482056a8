"""Recorded numbers of public implementations, as models and arrays.

Two selections of the same files exist: the compact one beside this module, which always runs, and
the full one in the directory that the environment variable `EDIT_BENCH_PARITY` names. See
`compact/README.md` for where the numbers come from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from bench.checks.contract.tiny import byte_tokenizer
from editors.base import EditRequest
from editors.parts.hypernetwork.networks import Projection
from editors.parts.language_model import LanguageModel
from editors.parts.target_value import TargetValue
from editors.parts.tokens import TokenBatch

COMPACT = Path(__file__).parent / "compact"
# Cases whose models MEND's and MALMEN's were recorded on too.
_SHARED = {"llama": "easyedit_llama_replace_last_cold"}
VARIABLE = "EDIT_BENCH_PARITY"
VALUES = ("v_num_grad_steps", "v_lr", "v_weight_decay", "clamp_norm_factor", "kl_factor")


@dataclass(frozen=True)
class Case:
    """One recorded run: its description and its arrays, of which a compact file holds a part."""

    name: str
    info: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray[Any, Any]]

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def compare(
        self, ours: Mapping[str, Any], *, atol: float, rtol: Callable[[str], float] = lambda _: 0.0
    ) -> None:
        """Check every recorded array but the prompts' ids; one that `ours` lacks is a failure.

        `rtol` gives by name a tolerance relative to the array's largest entry: entries that cancel
        to almost nothing carry the rounding of what they were computed from, which differs from one
        processor to another.
        """
        for name, recorded in self.arrays.items():
            if name.startswith("eval") and name.endswith("_input_ids"):
                continue
            assert name in ours, f"{self.name}: {name} was not computed"
            actual = np.asarray(ours[name])
            assert actual.shape == recorded.shape, f"{self.name}: {name}"
            share = max(rtol(name), self.rounding)
            allowed = atol + share * np.abs(recorded.astype(float)).max(initial=0.0)
            np.testing.assert_allclose(
                actual, recorded, atol=allowed, rtol=0, err_msg=f"{self.name}: {name}"
            )

    def compare_scaled(self, ours: Mapping[str, Any], tolerance: Callable[[str], float]) -> None:
        """Check every recorded array relative to its largest entry, with a tolerance by name."""
        for name, recorded in self.arrays.items():
            assert name in ours, f"{self.name}: {name} was not computed"
            close(f"{self.name}: {name}", ours[name], recorded, tolerance(name))

    @property
    def dtype(self) -> torch.dtype:
        """Of the model, by the case's name."""
        return torch.float64 if self.name.endswith("f64") else torch.float32

    @property
    def rounding(self) -> float:
        """Share of an array's largest entry by which processors differ: 32 float32 roundings.

        Only of LLaMA, whose norms, rotations and softmax compute in float32 in every dtype.
        """
        return 2.0**-18 if self.name.startswith("llama") else 0.0

    @property
    def tolerance(self) -> float:
        """GPT-2 1e-9 in float64."""
        exact = self.name.startswith("gpt2") and self.dtype == torch.float64
        return 1e-9 if exact else 1e-5

    def settings(self, *names: str) -> dict[str, Any]:
        """Recorded hyper-parameters of these names."""
        return {name: self.info["hyperparameters"][name] for name in names}

    @property
    def templates(self) -> tuple[str, ...]:
        """Context templates, the bare one first."""
        if "context_templates" in self.info:
            return tuple(self.info["context_templates"])
        return tuple(t for group in self.info["context_templates_grouped"] for t in group)

    def held(self, *stems: str) -> dict[str, Any]:
        """The arrays whose names start with one of the stems: what a test takes as given."""
        return {name: array for name, array in self.arrays.items() if name.startswith(stems)}

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


def on_cases(full: Sequence[str], selected: Sequence[str]) -> pytest.MarkDecorator:
    """Runs a test on the selected cases of the compact numbers, and (`parity`) on all cases."""
    compact = [pytest.param("compact", name, id=name) for name in selected]
    every = [
        pytest.param("full", name, id=f"{name}-full", marks=pytest.mark.parity) for name in full
    ]
    return pytest.mark.parametrize(("root", "name"), [*compact, *every], indirect=["root"])


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


def recorded_model(root: Path, case: Case) -> LanguageModel:
    """The model that a case describes and holds, with a tokenizer of bytes."""
    sizes = dict(case.info["model_config"])
    model = build_model(sizes["model_type"], sizes)
    weights = recorded_weights(root, case)
    return with_weights(model, weights, byte_tokenizer(bos=False), torch.float32)


def recorded_weights(root: Path, case: Case) -> dict[str, Tensor]:
    """Model weights of a case, `weights/*`; a compact one may share those of a GRACE case."""
    stem = "weights/"
    held = {name.removeprefix(stem): case[name] for name in case.arrays if name.startswith(stem)}
    if held:
        return held
    shared = load_arrays(root / "grace" / f"{_SHARED[case.info['model_config']['model_type']]}.npz")
    return {name.removeprefix(stem): x for name, x in shared.items() if name.startswith(stem)}


def build_model(kind: str, sizes: Mapping[str, Any]) -> PreTrainedModel:
    """A model of a recorded configuration, drawn aside from the global generator."""
    with torch.random.fork_rng():
        model = {"gpt2": _gpt2, "llama": _llama, "gptj": _gptj}[kind](sizes)
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


def _gptj(sizes: Mapping[str, Any]) -> PreTrainedModel:
    return GPTJForCausalLM(GPTJConfig(**sizes, bos_token_id=0, eos_token_id=0))


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


def weight(lm: LanguageModel, layer: int) -> Tensor:
    """A copy of the weight of a block's MLP output projection."""
    module = lm.module(lm.architecture.mlp_out, layer)
    return module.get_parameter("weight").detach().clone()


def request_of(row: Mapping[str, Any]) -> EditRequest:
    """A recorded request; its prompt has a place for the subject, or has it in full."""
    subject = row.get("subject", "")
    return EditRequest(
        prompt=row["prompt"].format(subject), target=row["target_new"], subject=subject
    )


def whole_row(prompt: Sequence[int], target: Sequence[int]) -> TokenBatch:
    """A row with its whole target fed, as recorded; its last token influences nothing."""
    ids = torch.tensor([[*prompt, *target]])
    return TokenBatch(ids, torch.ones_like(ids), (len(prompt),), (tuple(target),), ("",))


def shape_name(projection: Projection) -> str:
    """A projection's shape as MEND and MALMEN name it."""
    return f"({projection.d_in}, {projection.d_out})"


def optimisation_of(target: TargetValue) -> Iterator[tuple[str, Any]]:
    """The optimisation of a target value by its recorded names."""
    yield "delta_final", target.delta
    yield "delta_grads", torch.stack([step.gradient for step in target.steps])
    unclamped = torch.stack([step.unclamped for step in target.steps])
    yield "delta_after_adam_before_clamp", unclamped
    yield "losses_backpropagated", [step.loss for step in target.steps]

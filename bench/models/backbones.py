"""Backbones by name or directory: located and digested without torch, then loaded.

Weights are read from safetensors alone, and code of a model directory is never run. Backbones of
random weights need a `config.json` alone; they serve for measuring times only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.config import DTYPES, DeviceMap, Weights
from bench.core.console import warn
from bench.core.files import digest_of_files
from bench.core.names import BACKBONES, CONTROL, unknown_name
from bench.world.store import require_assets
from editors.parts.checks import check_file_name

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from editors.parts.language_model import LanguageModel

EMBEDDED = (*BACKBONES, CONTROL)
HUB_IDS = {
    "llama-2-7b": "meta-llama/Llama-2-7b-hf",
    "gpt-j-6b": "EleutherAI/gpt-j-6b",
    "gpt2-xl": "openai-community/gpt2-xl",
}

# What loading reads; anything else beside it (a README, other formats) changes no result.
_TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json")
READ_BESIDE_WEIGHTS = ("config.json", "generation_config.json", *_TOKENIZER)
_READ = ("*.safetensors", "*.safetensors.index.json", *READ_BESIDE_WEIGHTS)

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
IMPORT = "python -m bench import-weights"
_CONFIGURATIONS = ("config.json", "tokenizer_config.json", "generation_config.json")
# Entries by which a configuration asks for Python files of its repository.
_CODE = ("auto_map", "trust_remote_code", "custom_generate")

SEED = 0  # of all random weights; times do not depend on it
# Any of them defines a tokenizer; `tokenizer_config.json` alone does not.
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
# Whose tokenizer is lent to a directory without one: a BOS token, but for GPT's families.
_LENDER = "mini-llama"
_LENDERS = dict.fromkeys(("gpt2", "gptj", "gpt_neox"), "mini-gpt2")


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A model directory that is safe to load, with the digest of its files."""

    name: str
    directory: Path
    digest: str  # sha256 over weights (their seed, if random), configuration and tokenizer
    weights: Weights = "trained"  # random ones need the configuration alone
    lent_tokenizer: Path | None = None  # of an embedded model, where the directory has none


def locate(
    name: str, *, world_seed: int = 0, hub: bool = False, weights: Weights = "trained"
) -> Backbone:
    """The backbone of a name, or of a local Hugging Face directory.

    Args:
        name: a name of `EMBEDDED` or of `HUB_IDS`, or a path.
        world_seed: which embedded world's miniature backbones.
        hub: whether a hub model may be read from the local hub cache or downloaded.
        weights: `random` needs and reads none.

    Raises:
        ValueError: an unknown name, or a directory that must not or cannot be loaded.
        OSError: a missing directory or file, or a hub that cannot be reached.
    """
    at = at_directory if weights == "trained" else partial(_random_at, world_seed=world_seed)
    if name in EMBEDDED:
        return at(require_assets(world_seed, name), name=name)
    if name in HUB_IDS:
        if not hub:
            raise ValueError(
                f"Backbone {name!r} comes from the hub; "
                "use --preset paper, or give the path of a local copy."
            )
        wanted = _READ if weights == "trained" else READ_BESIDE_WEIGHTS
        return at(snapshot(HUB_IDS[name], wanted, option="--backbone"), name=name)
    directory = Path(name).expanduser()
    if directory.is_dir():
        return at(directory, name=directory.resolve().name)
    if "/" in name or "\\" in name or name.startswith((".", "~")):
        raise FileNotFoundError(f"No model directory at {name}.")
    error = unknown_name("backbone", name, (*EMBEDDED, *HUB_IDS))
    raise ValueError(f"{error} Any local Hugging Face model directory can be given by its path.")


def at_directory(directory: Path, *, name: str) -> Backbone:
    """The backbone in a directory, checked before anything in it is loaded."""
    checked_config(directory)
    check_weights(directory)
    files = sorted({path for pattern in _READ for path in directory.glob(pattern)})
    return Backbone(name=name, directory=directory, digest=digest_of_files(files))


def _random_at(directory: Path, *, name: str, world_seed: int) -> Backbone:
    """As `at_directory`, of a directory that needs a configuration alone."""
    config = checked_config(directory)
    lent = _lent_tokenizer(directory, config, world_seed)
    tokenizer = {path for pattern in _TOKENIZER for path in (lent or directory).glob(pattern)}
    files = digest_of_files([directory / "config.json", *sorted(tokenizer)])
    return Backbone(
        name=name,
        directory=directory,
        digest=hashlib.sha256(f"random weights {SEED} {files}".encode()).hexdigest(),
        weights="random",
        lent_tokenizer=lent,
    )


def _lent_tokenizer(directory: Path, config: Mapping[str, Any], world_seed: int) -> Path | None:
    """Directory of the embedded model whose tokenizer is lent, None if it has its own."""
    if any((directory / name).is_file() for name in _TOKENIZER_FILES):
        return None
    lender = require_assets(world_seed, _LENDERS.get(str(config["model_type"]), _LENDER))
    tokens = int(json_object(lender / "config.json")["vocab_size"])
    rows = config.get("vocab_size")
    if isinstance(rows, int) and rows < tokens:
        raise ValueError(
            f"{directory} has no tokenizer, and that of {lender.name} knows {tokens:,} tokens: "
            f"vocab_size in its config.json must be at least that, got {rows:,}."
        )
    _warn_of_lent_tokenizer(str(directory), lender.name, tokens)
    return lender


@cache
def _warn_of_lent_tokenizer(directory: str, name: str, tokens: int) -> None:
    warn(
        f"{directory} has no tokenizer: texts are tokenised by that of {name} ({tokens:,} tokens), "
        "and the model has the vocabulary of its configuration."
    )


def load(
    backbone: Backbone,
    *,
    dtype: str = "float32",
    device: str = "cpu",
    device_map: DeviceMap | None = None,
) -> LanguageModel:
    """The model, frozen and in eval mode, with its tokenizer.

    Args:
        dtype: one of `DTYPES`.
        device: of the whole model.
        device_map: `auto` spreads the blocks over all devices instead.

    Raises:
        ValueError: an unknown dtype or device, a tokenizer that does not belong to the model, or a
            model that does not fit on the devices.
        OSError: files that transformers cannot read.
    """
    import torch

    from editors.parts.language_model import LanguageModel

    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    tokenizer = tokenizer_of(backbone)
    kind: torch.dtype = getattr(torch, dtype)
    if backbone.weights == "random":
        model = _random_model(backbone.directory, kind, check_device(device))
    else:
        model = _stored_model(backbone, kind, device, device_map)
    if backbone.lent_tokenizer is None:
        _check_vocabulary(len(tokenizer), int(model.config.vocab_size), backbone)
    return LanguageModel(model, tokenizer, name=backbone.name, digest=backbone.digest)


def context_of(backbone: Backbone) -> int:
    """How many tokens the model can read."""
    config = json_object(backbone.directory / "config.json")
    stated = config.get("max_position_embeddings", config.get("n_positions"))
    if isinstance(stated, int):
        return stated
    from transformers import AutoConfig

    known = AutoConfig.from_pretrained(
        str(backbone.directory), local_files_only=True, trust_remote_code=False
    )
    return int(known.max_position_embeddings)


def tokenizer_of(backbone: Backbone) -> Any:
    """Its tokenizer; bad files raise errors of every kind in the libraries."""
    from transformers import AutoTokenizer

    directory = backbone.lent_tokenizer or backbone.directory
    try:
        return AutoTokenizer.from_pretrained(
            str(directory), local_files_only=True, trust_remote_code=False
        )
    except OSError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"The tokenizer in {directory} cannot be read: {type(error).__name__}: {reason}."
        ) from error


def _stored_model(
    backbone: Backbone, dtype: torch.dtype, device: str, device_map: DeviceMap | None
) -> PreTrainedModel:
    """The model with the weights of its directory."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from editors.parts.language_model import check_report

    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(backbone.directory),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=dtype,
            device_map=device_map,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `check_report` refuses them in a sentence
        )
    except SafetensorError as error:
        raise ValueError(
            f"The weights in {backbone.directory} are no whole safetensors file: {error}."
        ) from error
    model, report = loaded
    check_report(report, backbone.directory)
    if device_map is None:
        model.to(check_device(device))
    elif any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError(
            f"{backbone.name} does not fit on the devices of this machine, and offloaded weights "
            "cannot be edited; take a smaller --dtype."
        )
    stored: PreTrainedModel = model
    return stored


def _random_model(directory: Path, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A model with the initial weights of its family; the global generators are left alone."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(
        str(directory), local_files_only=True, trust_remote_code=False
    )
    with torch.random.fork_rng(), device:
        torch.manual_seed(SEED)
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    random: PreTrainedModel = model.to(device)
    return random


def check_device(name: str) -> torch.device:
    """The device of a name; ValueError if there is no such device on this machine."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"Unknown device {name!r}. Available: cpu, cuda, cuda:N.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"Device {name!r} is not available: torch sees no CUDA device; use cpu.")
    return device


def checked_config(directory: Path) -> dict[str, Any]:
    """The configuration of a known architecture that asks for no remote code."""
    from editors.parts.language_model import ARCHITECTURES

    config = json_object(directory / "config.json")
    model_type = str(config.get("model_type", "none"))
    if model_type not in ARCHITECTURES:
        raise ValueError(
            f"{directory} holds a model of model_type {model_type!r}, which has no architecture "
            f"row. Available: {', '.join(sorted(ARCHITECTURES))}."
        )
    check_no_code(directory)
    return config


def _check_vocabulary(tokens: int, rows: int, backbone: Backbone) -> None:
    """A tokenizer may leave some embedding rows unused (GPT-J pads them), but not half of them.

    Without its vocabulary files a tokenizer silently loads with a few special tokens alone.
    """
    if not rows / 2 <= tokens <= rows:
        raise ValueError(
            f"The tokenizer in {backbone.directory} knows {tokens} tokens, but the model has "
            f"{rows} embedding rows; they do not belong together."
        )


# ---- files of a model --------------------------------------------------------------------------


def snapshot(repository: str, patterns: Sequence[str], *, option: str) -> Path:
    """Local snapshot of a hub repository, from the hub's cache or downloaded, else OSError.

    `patterns` name the files to fetch, never pickles; `option` takes a local copy instead.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except Exception as error:  # the hub client raises many kinds: offline, gated, http, no cache
        raise OSError(
            f"Cannot get {repository} from the hub ({type(error).__name__}); check the network "
            f"and the access rights, or give the path of a local copy with {option}."
        ) from error


def check_weights(directory: Path) -> None:
    """Refuse a directory without safetensors, or with an index of files that are not in it."""
    if not any(directory.glob("*.safetensors")):
        pickled = sorted(p.name for pattern in PICKLED for p in directory.glob(pattern))
        if not pickled:
            raise ValueError(f"{directory} holds no *.safetensors weights.")
        raise ValueError(
            f"{directory} holds no *.safetensors weights, only pickled weights "
            f"({', '.join(pickled[:3])}); pickles are never loaded, `{IMPORT} {directory}` "
            "converts them to safetensors first."
        )
    for index in sorted(directory.glob("*.safetensors.index.json")):
        for name in dict.fromkeys(weight_map(index).values()):
            if not (directory / name).is_file():
                raise FileNotFoundError(f"{index} names {name}, which is not in {directory}.")


def check_no_code(directory: Path) -> None:
    """Refuse a directory whose configuration asks for Python files of its own."""
    for path in (directory / name for name in _CONFIGURATIONS):
        if not path.exists():
            continue
        entries = json_object(path)
        wanted = [name for name in _CODE if entries.get(name) not in (None, False)]
        if wanted:
            raise ValueError(
                f"{path} asks for remote code ({wanted[0]}), which is never run; weights of a "
                f"known architecture load without that entry, pickled ones after `{IMPORT} FILE`."
            )


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; FileNotFoundError without it, ValueError for another value."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"No {path.name} in {path.parent}.") from None
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(value).__name__}.")
    return value


def weight_map(index: Path) -> dict[str, str]:
    """The file of each tensor, by the index of a model in several files, all beside the index."""
    files = json_object(index).get("weight_map")
    if not isinstance(files, dict) or not files:
        raise ValueError(f"{index} is no index of weights: no weight_map.")
    pairs = {str(name): str(file) for name, file in files.items()}
    for name in dict.fromkeys(pairs.values()):
        check_file_name(f"file in {index}", name)
    return pairs

"""Backbones by name or directory: located and digested without torch, then loaded.

Weights are read from safetensors alone, and code of a model directory is never run. Backbones of
random weights need a `config.json` alone; they serve for measuring times only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core import names
from bench.core.config import DTYPES, DeviceMap, Weights
from bench.core.console import warn
from bench.core.files import digest_of_files
from bench.models import catalogue, gguf
from bench.models.inspection import (
    check_headers,
    check_no_code,
    check_plain,
    check_vocabulary,
    check_weights,
    json_object,
    read_configuration,
    read_tokenizer,
    reading,
)
from bench.world.store import require_assets
from editors.registry import CONTROL_SUFFIX

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from editors.base import Hparams
    from editors.parts.language_model import LanguageModel

EMBEDDED = (*names.BACKBONES, names.CONTROL)
HUB_IDS = {
    "llama-2-7b": "meta-llama/Llama-2-7b-hf",
    "gpt-j-6b": "EleutherAI/gpt-j-6b",
    "gpt2-xl": "openai-community/gpt2-xl",
}

BACKBONES = (*EMBEDDED, *catalogue.names("backbone"), *HUB_IDS)  # by name

# What loading reads; anything else beside it (a README, other formats) changes no result.
_TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json")
READ_BESIDE_WEIGHTS = ("config.json", "generation_config.json", *_TOKENIZER)
_READ = ("*.safetensors", "*.safetensors.index.json", *READ_BESIDE_WEIGHTS)

SEED = 0  # of all random weights; times do not depend on it
# Any of them defines a tokenizer; `tokenizer_config.json` alone does not.
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
# Whose tokenizer is lent to a directory without one: a BOS token, but for GPT's families.
_LENDER = "mini-llama"
_LENDERS = dict.fromkeys(("gpt2", "gptj", "gpt_neox"), "mini-gpt2")


UNKNOWN = "default"  # the preset of any other model


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A model directory that is safe to load, with the digest of its files."""

    name: str
    directory: Path
    digest: str  # sha256 over weights (their seed, if random), configuration and tokenizer
    like: str = UNKNOWN  # whose presets, corpus and encoder it has, by its configuration
    weights: Weights = "trained"  # random ones need the configuration alone
    lent_tokenizer: Path | None = None  # of an embedded model, where the directory has none


def locate(
    name: str, *, world_seed: int = 0, hub: bool = False, weights: Weights = "trained"
) -> Backbone:
    """The backbone of a name, or of a local Hugging Face directory.

    Args:
        name: a name of `EMBEDDED`, `HUB_IDS` or the catalogue, or a path.
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
    directory = _local(name)
    if directory is not None:
        if hub and weights == "trained":
            _check_recognised(directory)
        return at(directory, name=_name_of(name, directory))
    raise _nowhere(name)


def _local(name: str) -> Path | None:
    """The directory of a fetched model, of a GGUF file or of a path; None if there is none."""
    listed = catalogue.named(name, "backbone")
    if listed is not None:
        return catalogue.fetched(listed)
    path = Path(name).expanduser()
    if path.suffix == gguf.SUFFIX and not path.is_dir():
        return gguf.converted(path)
    return path if path.is_dir() else None


def _name_of(name: str, directory: Path) -> str:
    """What a model of a name or path is called."""
    from editors.parts.language_model import name_of

    listed = catalogue.named(name, "backbone")
    return listed.name if listed is not None else name_of(str(directory.absolute()))


def _nowhere(name: str) -> Exception:
    """The error for a name or path of no model."""
    command = catalogue.command_for(name)
    if command is not None:
        return FileNotFoundError(f"No model directory at {name}: {command}")
    if "/" in name or "\\" in name or name.startswith((".", "~")):
        return FileNotFoundError(f"No model directory at {name}.")
    error = names.unknown_name("backbone", name, BACKBONES)
    return ValueError(f"{error} Any local Hugging Face model directory can be given by its path.")


def at_directory(directory: Path, *, name: str) -> Backbone:
    """The backbone in a directory, checked before anything in it is loaded."""
    config = checked_config(directory)
    check_plain(directory, config)
    check_weights(directory)
    check_headers(directory)
    files = sorted({path for pattern in _READ for path in directory.glob(pattern)})
    like = _like(name, config)
    return Backbone(name=name, directory=directory, digest=digest_of_files(files), like=like)


def like(name: str) -> str:
    """Whose presets, corpus and encoder the backbone of a name or directory has."""
    from editors.parts.language_model import KNOWN

    if name in EMBEDDED or name in HUB_IDS:
        return name
    listed = catalogue.named(name, "backbone")
    if listed is not None:
        return listed.entry.key if listed.entry.key in KNOWN else UNKNOWN
    directory = _local(name)
    if directory is None:
        raise _nowhere(name)
    return _like(_name_of(name, directory), checked_config(directory))


def _like(name: str, config: Mapping[str, Any]) -> str:
    from editors.parts.language_model import known_as

    known = known_as(config, name.removesuffix(CONTROL_SUFFIX))
    return name if known and name == known + CONTROL_SUFFIX else known or UNKNOWN


def _check_recognised(directory: Path) -> None:
    """Refuse a model that the paper preset has no settings, corpus and encoder for."""
    if like(str(directory)) == UNKNOWN:
        raise ValueError(
            f"The model in {directory} is none that --preset paper knows by its configuration "
            f"(type, width, depth, heads, vocabulary): {', '.join(HUB_IDS)}. Any other model runs "
            "without --preset paper, with --data-dir, --corpus, --encoder and --hparam."
        )


def _random_at(directory: Path, *, name: str, world_seed: int) -> Backbone:
    """As `at_directory`, of a directory that needs a configuration alone."""
    config = checked_config(directory)
    check_plain(directory, config)
    lent = _lent_tokenizer(directory, config, world_seed)
    tokenizer = {path for pattern in _TOKENIZER for path in (lent or directory).glob(pattern)}
    files = digest_of_files([directory / "config.json", *sorted(tokenizer)])
    return Backbone(
        name=name,
        directory=directory,
        digest=hashlib.sha256(f"random weights {SEED} {files}".encode()).hexdigest(),
        like=_like(name, config),
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
    """The model, frozen and in eval mode, with its tokenizer; it answers with numbers.

    Args:
        dtype: one of `DTYPES`.
        device: of the whole model.
        device_map: `auto` spreads the blocks over all devices instead.

    Raises:
        ValueError: an unknown dtype or device, a tokenizer that does not belong to the model, or a
            model that does not fit on the devices, or whose outputs are no numbers.
        OSError: files that transformers cannot read.
    """
    import torch

    from editors.parts.language_model import check_answers

    if dtype not in DTYPES:
        raise names.unknown_name("dtype", dtype, DTYPES)
    tokenizer = tokenizer_of(backbone)
    kind: torch.dtype = getattr(torch, dtype)
    if backbone.weights == "random":
        model = _random_model(backbone.directory, kind, check_device(device))
    else:
        model = _stored_model(backbone, kind, device, device_map)
    lm = _opened(model, tokenizer, backbone)
    check_answers(lm)
    return lm


def check_loadable(backbone: Backbone) -> None:
    """Build the model with the shapes of its weights, and read its tokenizer, before any cell.

    Warns of a BOS that no prompt gets.

    Raises:
        ValueError: what cannot be read, or does not belong together.
        OSError: missing files.
    """
    import torch

    tokenizer = tokenizer_of(backbone)
    shapes = torch.device("meta")
    if backbone.weights == "random":
        model = _random_model(backbone.directory, torch.float32, shapes)
    else:
        model = _weights_of(backbone.directory, torch.float32, "meta")
    lm = _opened(model, tokenizer, backbone)
    if lm.special.lacks_bos:
        warn(
            f"{backbone.name}: its configuration names a BOS ({lm.special.bos}, "
            f"{tokenizer.convert_ids_to_tokens(lm.special.bos)!r}), which its tokenizer puts in "
            "front of no prompt. That is right where the BOS is a token of chats."
        )


def context_of(backbone: Backbone) -> int:
    """How many tokens the model can read."""
    return _size_of(backbone, "max_position_embeddings", "n_positions")


def check_layers(hparams: Hparams, backbone: Backbone, *, label: str) -> None:
    """Refuse hyper-parameters that name a block which the model does not have."""
    blocks = _size_of(backbone, "num_hidden_layers", "n_layer")
    for name, value in hparams.to_dict().items():
        named = value if name.endswith("layers") else [value] if name == "layer" else []
        for number in named if isinstance(named, list) else []:
            if isinstance(number, int) and not 0 <= number < blocks:
                raise ValueError(
                    f"{label}'s {name} is to be among the blocks 0 to {blocks - 1} of "
                    f"{backbone.name}, got {number}."
                )


def _size_of(backbone: Backbone, name: str, of_gpt: str) -> int:
    """An entry of the configuration, which GPT's families call otherwise."""
    config = json_object(backbone.directory / "config.json")
    stated = config.get(name, config.get(of_gpt))
    if isinstance(stated, int):
        return stated
    return int(getattr(read_configuration(backbone.directory), name))


def tokenizer_of(backbone: Backbone) -> Any:
    """Its tokenizer."""
    return read_tokenizer(backbone.lent_tokenizer or backbone.directory)


def _opened(model: PreTrainedModel, tokenizer: Any, backbone: Backbone) -> LanguageModel:
    """A model with its tokenizer; ValueError where they do not belong together."""
    from editors.parts.language_model import LanguageModel

    if backbone.lent_tokenizer is None:
        check_vocabulary(len(tokenizer), int(model.config.vocab_size), backbone.directory)
    return LanguageModel(model, tokenizer, name=backbone.name, digest=backbone.digest)


def _stored_model(
    backbone: Backbone, dtype: torch.dtype, device: str, device_map: DeviceMap | None
) -> PreTrainedModel:
    """The model with the weights of its directory, on its devices."""
    model: Any = _weights_of(backbone.directory, dtype, device_map)
    if device_map is None:
        model.to(check_device(device))
    elif any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError(
            f"{backbone.name} does not fit on the devices of this machine, and offloaded weights "
            "cannot be edited; take a smaller --dtype."
        )
    stored: PreTrainedModel = model
    return stored


def _weights_of(directory: Path, dtype: torch.dtype, device_map: str | None) -> PreTrainedModel:
    """The model with the weights of a directory; `meta` reads no more than their shapes."""
    from transformers import AutoModelForCausalLM

    from editors.parts.language_model import check_report, check_whole

    config = read_configuration(directory)
    with reading(f"The model in {directory}"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(directory),
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=dtype,
            device_map=device_map,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `check_report` refuses them in a sentence
        )
    model, report = loaded
    check_report(report, directory)
    check_whole(report, directory)
    stored: PreTrainedModel = model
    return stored


def _random_model(directory: Path, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """A model with the initial weights of its family; the global generators are left alone."""
    import torch
    from transformers import AutoModelForCausalLM

    config = read_configuration(directory)
    with reading(f"The model in {directory}"), torch.random.fork_rng(), device:
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
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"Unknown device {name!r}. Available: cpu, cuda, cuda:N.")
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= seen:
        devices = f"{seen} CUDA devices" if seen else "no CUDA device; use cpu"
        raise ValueError(f"Device {name!r} is not available: torch sees {devices}.")
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


# ---- the hub -----------------------------------------------------------------------------------


def snapshot(
    repository: str, patterns: Sequence[str], *, option: str, revision: str | None = None
) -> Path:
    """Local snapshot of a hub repository, from the hub's cache or downloaded, else OSError.

    `patterns` name the files to fetch, never pickles; `option` takes a local copy instead.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # the hub client raises many kinds: offline, gated, http, no cache
        raise OSError(
            f"Cannot get {repository} from the hub ({type(error).__name__}); check the network "
            f"and the access rights, or give the path of a local copy with {option}."
        ) from error

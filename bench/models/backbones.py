"""Backbones by name or by directory: found and fingerprinted without torch, then loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from bench.core.checksums import digest_of_files
from bench.core.hub import snapshot
from bench.core.names import BACKBONES, CONTROL, unknown_name
from bench.models import random_backbones
from bench.models.model_files import check_no_code, check_weights, json_object

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
DeviceMap = Literal["auto"]
DEVICE_MAPS: tuple[DeviceMap, ...] = get_args(DeviceMap)
Weights = Literal["trained", "random"]
DTYPES = ("float32", "bfloat16", "float16")

# What loading reads; anything else beside it (a README, other formats) changes no result.
_TOKENIZER = (
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
READ_BESIDE_WEIGHTS = ("config.json", "generation_config.json", *_TOKENIZER)
_READ = ("*.safetensors", "*.safetensors.index.json", *READ_BESIDE_WEIGHTS)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A model directory that is safe and able to be loaded, with the digest of its files."""

    name: str
    directory: Path
    digest: str  # sha256 over weights (their seed, if random), configuration and tokenizer
    weights: Weights = "trained"  # random ones are made from the configuration alone
    lent_tokenizer: Path | None = None  # of an embedded model, where the directory has none


def locate(
    name: str, *, world_seed: int = 0, hub: bool = False, weights: Weights = "trained"
) -> Backbone:
    """The backbone of a name, or of a local Hugging Face directory.

    Args:
        name: a name of `EMBEDDED` or of `HUB_IDS`, or a path.
        world_seed: which embedded world's miniature backbones.
        hub: whether a hub model may be taken from the local hub cache or be downloaded.
        weights: `random` wants no weights and reads none.

    Raises:
        ValueError: an unknown name, or a directory that must not or cannot be loaded.
        OSError: a missing directory or file, or a hub that cannot be reached.
    """
    found = at_directory if weights == "trained" else partial(_random, world_seed=world_seed)
    if name in EMBEDDED:
        from bench.world.store import require_assets

        return found(require_assets(world_seed, name), name=name)
    if name in HUB_IDS:
        if not hub:
            raise ValueError(
                f"Backbone {name!r} comes from the hub; "
                "use --preset paper, or give the path of a local copy."
            )
        wanted = _READ if weights == "trained" else READ_BESIDE_WEIGHTS
        return found(snapshot(HUB_IDS[name], wanted, option="--backbone"), name=name)
    directory = Path(name).expanduser()
    if directory.is_dir():
        return found(directory, name=directory.resolve().name)
    if "/" in name or "\\" in name or name.startswith((".", "~")):
        raise FileNotFoundError(f"No model directory at {name}.")
    error = unknown_name("backbone", name, (*EMBEDDED, *HUB_IDS))
    raise ValueError(f"{error} Any local Hugging Face model directory can be given by its path.")


def at_directory(directory: Path, *, name: str) -> Backbone:
    """The backbone in a directory, checked before anything of it is loaded."""
    checked_config(directory)
    check_weights(directory)
    files = sorted({path for pattern in _READ for path in directory.glob(pattern)})
    return Backbone(name=name, directory=directory, digest=digest_of_files(files))


def _random(directory: Path, *, name: str, world_seed: int) -> Backbone:
    """As `at_directory`, of a directory that needs a configuration alone."""
    config = checked_config(directory)
    lent = random_backbones.lent_tokenizer(directory, config, world_seed)
    read = {path for pattern in _TOKENIZER for path in (lent or directory).glob(pattern)}
    return Backbone(
        name=name,
        directory=directory,
        digest=random_backbones.digest([directory / "config.json", *sorted(read)]),
        weights="random",
        lent_tokenizer=lent,
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
        device: where the whole model goes.
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
    tokenizer = _tokenizer(backbone.lent_tokenizer or backbone.directory)
    kind: torch.dtype = getattr(torch, dtype)
    if backbone.weights == "random":
        model = random_backbones.random_model(
            backbone.directory, dtype=kind, device=check_device(device)
        )
    else:
        model = _stored(backbone, kind, device, device_map)
    if backbone.lent_tokenizer is None:
        _check_vocabulary(len(tokenizer), int(model.config.vocab_size), backbone)
    return LanguageModel(model, tokenizer, name=backbone.name, digest=backbone.digest)


def _tokenizer(directory: Path) -> Any:
    """The tokenizer of a directory, in whose files libraries stumble with errors of every kind."""
    from transformers import AutoTokenizer

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


def _stored(
    backbone: Backbone, dtype: torch.dtype, device: str, device_map: DeviceMap | None
) -> PreTrainedModel:
    """The model with the weights of its directory."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from editors.parts.encoder import check_report

    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(backbone.directory),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=dtype,
            device_map=device_map,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, in a sentence
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
            f"{backbone.name} does not fit on the devices of this machine, and weights that wait "
            "elsewhere cannot be edited; take a smaller --dtype."
        )
    found: PreTrainedModel = model
    return found


def check_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        ValueError: no such device, or none on this machine.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"Unknown device {name!r}. Available: cpu, cuda, cuda:N.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"Device {name!r} was asked for, but torch sees no CUDA device; use cpu.")
    return device


def checked_config(directory: Path) -> dict[str, Any]:
    """The configuration of a known architecture that asks for no remote code."""
    config = json_object(directory / "config.json")
    _check_model_type(config, directory)
    check_no_code(directory)
    return config


def _check_model_type(config: dict[str, Any], directory: Path) -> None:
    from editors.parts.language_model import ARCHITECTURES

    model_type = str(config.get("model_type", "none"))
    if model_type not in ARCHITECTURES:
        raise ValueError(
            f"{directory} holds a model of model_type {model_type!r}, which has no architecture "
            f"row. Available: {', '.join(sorted(ARCHITECTURES))}."
        )


def _check_vocabulary(tokens: int, rows: int, backbone: Backbone) -> None:
    """A tokenizer may leave some embedding rows unused (GPT-J pads them), but not half of them.

    A loader that misses the vocabulary files silently makes a tokenizer of a few special tokens.
    """
    if not rows / 2 <= tokens <= rows:
        raise ValueError(
            f"The tokenizer in {backbone.directory} knows {tokens} tokens, but the model has "
            f"{rows} embedding rows; they do not belong together."
        )

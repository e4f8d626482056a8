"""What a model directory must be, looked at before anything is computed.

Files are read without torch. A model is then built without its weights, so that whatever the
libraries cannot read ends a command with one sentence instead of failing cell by cell.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editors.parts.checks import check_file_name

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_ADAPTERS = "adapter_*"  # PEFT's configuration and weights
# Files and entries of a configuration that say that weights are no plain numbers.
_QUANTISED_FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
_QUANTISED = ("quantization_config", "compression_config")
_SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id")  # one number, or a list of them
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
IMPORT = "python -m bench import-weights"
_CONFIGURATIONS = ("config.json", "tokenizer_config.json", "generation_config.json")
# Entries by which a configuration asks for Python files of its repository.
_CODE = ("auto_map", "trust_remote_code", "custom_generate")
_PLAIN = frozenset({"F64", "F32", "F16", "BF16"})  # as safetensors calls them
_POINTER = b"version https://git-lfs"
_LONGEST_HEADER = 100 << 20  # bytes; the library's own limit
_SHOWN = 300  # characters of a library's message


def check_plain(directory: Path, config: Mapping[str, Any]) -> None:
    """Refuse what would change the weights, or would be left out when they are read.

    Raises:
        ValueError: an adapter, quantised weights, or an id of a token that has no embedding.
    """
    adapters = sorted(path.name for path in directory.glob(_ADAPTERS))
    if adapters:
        raise ValueError(
            f"{directory} holds an adapter ({adapters[0]}) beside its weights; wanted a model "
            "alone: merge the adapter into the weights, or move it elsewhere."
        )
    quantised = [name for name in _QUANTISED if config.get(name)]
    quantised += [name for name in _QUANTISED_FILES if (directory / name).is_file()]
    if quantised:
        raise ValueError(
            f"{directory} holds quantised weights ({quantised[0]}); edits need plain ones, in "
            "float32, bfloat16 or float16."
        )
    rows: Any = config.get("vocab_size")
    for name in _SPECIAL if isinstance(rows, int) else ():
        given = config.get(name)
        for number in given if isinstance(given, list) else [given]:
            if isinstance(number, int) and not -rows <= number < rows:
                raise ValueError(
                    f"{directory / 'config.json'} has a {name} of {number}, but the model has "
                    f"{rows} embedding rows, 0 to {rows - 1}."
                )


def check_headers(directory: Path) -> None:
    """Refuse files of weights that are damaged, cut short or of other numbers.

    Raises:
        ValueError: by the first such file.
    """
    for path in sorted(directory.glob("*.safetensors")):
        header = _header(path)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        with path.open("rb") as file:
            begin = 8 + int.from_bytes(file.read(8), "little")
        if path.stat().st_size < begin + end:
            raise ValueError(
                f"{path} is cut short: its header names {begin + end:,} bytes, and it has "
                f"{path.stat().st_size:,}."
            )
        other = [
            f"{name} is {entry['dtype']}"
            for name, entry in header.items()
            if name.endswith(".weight") and entry["dtype"] not in _PLAIN
        ]
        if other:
            raise ValueError(
                f"{path} holds weights that are no plain numbers ({other[0]}); wanted "
                f"{', '.join(sorted(_PLAIN))}."
            )


def _header(path: Path) -> dict[str, Any]:
    """Name -> facts of each tensor in a safetensors file."""
    with path.open("rb") as file:
        start = file.read(len(_POINTER))
        if start == _POINTER:
            raise ValueError(
                f"{path} is a git-lfs pointer, not the weights; `git lfs pull` fetches them."
            )
        file.seek(8)
        size = int.from_bytes(start[:8], "little")
        content = file.read(size) if size <= _LONGEST_HEADER else b""
    try:
        header = json.loads(content)
        header.pop("__metadata__", None)
        return {name: {**entry, "data_offsets": [*entry["data_offsets"]]} for name, entry in
                header.items() if entry["dtype"]}  # fmt: skip
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no whole safetensors file: its header is damaged.") from error


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever the libraries raise inside into one sentence about `what` is read.

    Raises:
        ValueError: for an error of any kind, but for OSError, which stays as it is.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        shown = reason if len(reason) <= _SHOWN else f"{reason[:_SHOWN]}..."
        raise ValueError(f"{what} cannot be read: {type(error).__name__}: {shown}.") from error


def read_configuration(directory: Path) -> PretrainedConfig:
    """The configuration of a model; how attention is computed is no part of it."""
    from transformers import AutoConfig

    with reading(f"The config.json in {directory}"):
        config: PretrainedConfig = AutoConfig.from_pretrained(
            str(directory), local_files_only=True, trust_remote_code=False
        )
        config._attn_implementation = None  # noqa: SLF001 - it has no public name
        return config


def read_tokenizer(directory: Path) -> Any:
    """The tokenizer of a directory."""
    from transformers import AutoTokenizer

    with reading(f"The tokenizer in {directory}"):
        return AutoTokenizer.from_pretrained(
            str(directory), local_files_only=True, trust_remote_code=False
        )


def check_vocabulary(tokens: int, rows: int, directory: Path) -> None:
    """A tokenizer may leave some embedding rows unused (GPT-J pads them), but not half of them.

    Without its vocabulary files a tokenizer silently loads with a few special tokens alone.
    """
    if not rows / 2 <= tokens <= rows:
        raise ValueError(
            f"The tokenizer in {directory} knows {tokens} tokens, but the model has "
            f"{rows} embedding rows; they do not belong together."
        )


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

"""GGUF files as backbones: dequantised once to a plain model directory in the cache.

Edits need plain numbers, so that quantised weights are written as float32 safetensors. The
conversion is cached under the sha256 of the file; the backbone's digest is that of what was
written.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.core.files import cached_digest, check_sealed, seal, write_text
from bench.core.progress import show_busy
from bench.models.inspection import reading
from bench.world.store import cache_root, make_directory
from editors.parts.checks import check_file_name

SUFFIX = ".gguf"
# As GGUF calls them; these of transformers' own are known to `ARCHITECTURES` too.
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gpt2")
# Of configurations that the library writes: how it was called, and its version.
_OF_LIBRARY = ("transformers_version", "is_local", "local_files_only")


def converted(file: Path) -> Path:
    """The model directory of a GGUF file, converted the first time.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no GGUF file, one of another architecture or without all weights, or the extra
            is not installed.
    """
    if not file.is_file():
        raise FileNotFoundError(f"No GGUF file at {file}.")
    name = check_file_name("model", file.stem)
    directory = cache_root() / "gguf" / cached_digest(file)[:16] / name
    if not directory.is_dir():

        def fill(part: Path) -> None:
            convert(file, part)
            seal(part)

        make_directory(directory, fill)
    check_sealed(directory, "Remove the folder, and it is converted again.")
    return directory


def convert(file: Path, directory: Path) -> None:
    """Write the model of a GGUF file into a directory: safetensors, configuration, tokenizer."""
    if find_spec("gguf") is None:
        raise ValueError(
            f"{file} needs the package gguf, which is an extra: "
            "pip install 'lifelong-edit-bench[gguf]'."
        )
    with show_busy(f"converting {file.name} to safetensors, once"), reading(str(file)):
        architecture = _architecture(file)
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"{file} holds a model of the architecture {architecture!r}; wanted one of "
            f"{', '.join(ARCHITECTURES)}."
        )
    with show_busy(f"converting {file.name} to safetensors, once"), reading(str(file)):
        model, tokenizer, report = _loaded(file)
    _check_report(report, file)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    added = _without_added_tokens(directory / "tokenizer.json", model.config.vocab_size)
    for path in directory.glob("*config.json"):
        values = {
            name: value
            for name, value in json.loads(path.read_text("utf-8")).items()
            if name not in _OF_LIBRARY and value not in added
        }
        write_text(path, json.dumps(values, indent=2, sort_keys=True) + "\n")
    for path in directory.iterdir():
        path.chmod(0o644)  # weights are saved for the owner alone


def _without_added_tokens(path: Path, rows: int) -> list[str]:
    """Remove the tokens that the library adds to any tokenizer though no embedding has them."""
    content = json.loads(path.read_text("utf-8"))
    beyond = [token for token in content["added_tokens"] if token["id"] >= rows]
    if beyond:
        content["added_tokens"] = [t for t in content["added_tokens"] if t["id"] < rows]
        write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
    return [token["content"] for token in beyond]


def _architecture(file: Path) -> str:
    from gguf import GGUFReader

    field = GGUFReader(file).get_field("general.architecture")
    return "none" if field is None else str(field.contents())


def _loaded(file: Path) -> tuple[Any, Any, dict[str, Any]]:
    """(model in float32 that no longer says it is quantised, tokenizer, loading report)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **place)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        str(file.parent), dtype=torch.float32, output_loading_info=True, **place
    )
    model, report = loaded
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    return model, tokenizer, report


def _check_report(report: dict[str, Any], file: Path) -> None:
    from editors.parts.language_model import check_report

    check_report(report, file)

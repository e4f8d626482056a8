"""Model directories with something that no run can use, by what it is, and how they are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
PROJECTION = "model.layers.1.mlp.down_proj.weight"
Damage = Callable[[Path], object]
_SPIRAL = {"rope_type": "spiral", "factor": 2.0, "rope_theta": 10000.0}


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def entry(file: str, **values: object) -> Damage:
    """Changes entries of a JSON file."""
    return lambda directory: edit_json(directory / file, lambda config: config.update(values))


def beside(name: str) -> Damage:
    """Puts a file beside the others."""
    return lambda directory: (directory / name).write_text("{}")


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    """Changes tensors by name."""

    def damage(directory: Path) -> None:
        tensors = load_file(directory / WEIGHTS)
        change(tensors)
        save_file(tensors, directory / WEIGHTS, metadata={"format": "pt"})

    return damage


def content(change: Callable[[bytes], bytes]) -> Damage:
    """Changes the bytes of the weights."""
    return lambda directory: (directory / WEIGHTS).write_bytes(
        change((directory / WEIGHTS).read_bytes())
    )


def around_texts(*before: str, after: tuple[str, ...] = ()) -> Damage:
    """Special tokens that the tokenizer puts around every text."""
    ids = {"<pad>": 0, "<s>": 1, "</s>": 2}

    def special(name: str) -> dict[str, object]:
        return {"SpecialToken": {"id": name, "type_id": 0}}

    text = {"Sequence": {"id": "A", "type_id": 0}}
    single = [*map(special, before), text, *map(special, after)]
    processor = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {n: {"id": n, "ids": [i], "tokens": [n]} for n, i in ids.items()},
    }
    return entry("tokenizer.json", post_processor=processor)


def as_integers(tensors: dict[str, torch.Tensor]) -> None:
    tensors[PROJECTION] = tensors[PROJECTION].to(torch.int8)


def dropping_merges(directory: Path) -> None:
    """Lets the tokenizer leave out merges at random."""
    edit_json(directory / "tokenizer.json", lambda t: t["model"].update(dropout=0.3))


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
# Refused by looking at the files.
FILES: dict[str, tuple[Damage, str]] = {
    "adapter": (beside("adapter_config.json"), "holds an adapter (adapter_config.json)"),
    "adapter alone": (beside("adapter_model.safetensors"), "holds an adapter"),
    "quantised": (
        entry("config.json", quantization_config={"quant_method": "own", "bits": 8}),
        "holds quantised weights (quantization_config)",
    ),
    "quantised elsewhere": (beside("quantize_config.json"), "(quantize_config.json)"),
    "integers": (weights(as_integers), f"no plain numbers ({PROJECTION} is I8)"),
    "padding": (
        entry("config.json", pad_token_id=266),
        "pad_token_id of 266, but the model has 266",
    ),
    "negative padding": (entry("config.json", pad_token_id=-267), "pad_token_id of -267"),
    "beginning": (
        entry("config.json", bos_token_id=70_000),
        "bos_token_id of 70000, but the",
    ),
    "further end": (
        entry("config.json", eos_token_id=[2, 266]),
        "eos_token_id of 266, but the",
    ),
    "pointer": (content(lambda _: POINTER), "is a git-lfs pointer"),
    "empty": (content(lambda _: b""), "is no whole safetensors file"),
    "a page": (content(lambda _: b"<!DOCTYPE html><html></html>"), "no whole safetensors file"),
    "cut short": (content(lambda whole: whole[:-100]), "is cut short"),
    "header cut short": (content(lambda whole: whole[:60]), "is no whole safetensors file"),
}
# Refused by building the model without its weights, and reading its tokenizer.
LIBRARIES: dict[str, tuple[Damage, str]] = {
    "rope": (entry("config.json", rope_parameters=_SPIRAL), "cannot be read: KeyError: 'spiral'"),
    "heads": (entry("config.json", num_attention_heads="two"), "cannot be read: "),
    "dropout": (dropping_merges, "splits a text differently each time (BPE dropout 0.3)"),
    "tokenizer": (entry("tokenizer.json", model={"type": "own"}), "cannot be read: "),
    "end of text": (around_texts("<s>", after=("</s>",)), "ends every text with '</s>'"),
    "padding behind": (around_texts(after=("<pad>",)), "ends every text with '<pad>'"),
}
# Harmless: nothing of it matters to an edit.
HARMLESS: dict[str, Damage] = {
    "flash attention": entry("config.json", _attn_implementation="flash_attention_2"),
    "padding from the end": entry("config.json", pad_token_id=-1),
    "outdated tensors": weights(
        lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    ),
    "another BOS": around_texts("<pad>"),
}

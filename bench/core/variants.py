"""Named variants of RECIPE: what the paper's Table 4 and Figure 3 compare.

A variant is a few hyper-parameters other than the preset's. Its weights lie in a folder of its own
beside the preset's, and are not shipped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bench.core.names import unknown_name

if TYPE_CHECKING:
    from editors.base import Hparams

EDITOR = "recipe"
LENGTHS = (1, 2, 3, 4, 5, 8)  # of continuous prompts in Figure 3, and 8 (ours)
_LENGTH = re.compile(r"cpt=([1-9][0-9]{0,3})")  # the name is a folder's too


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A variant by its key, with what it changes of the preset."""

    key: str
    label: str
    hparams: Mapping[str, Any]
    about: str = ""  # what a caption says of its row


def _of(key: str, label: str, about: str = "", **hparams: Any) -> Variant:
    return Variant(key=key, label=label, hparams=MappingProxyType(hparams), about=about)


_WHOLE = {"prompts": "continuous", "gate": "sentinel"}  # RECIPE as it is
# Table 4: the knowledge text's word embeddings in place of the continuous prompt (CPT), a plain
# contrastive loss with an absolute threshold in place of the knowledge sentinel (KS).
ABLATIONS = (
    _of("no-cpt", "- CPT", prompts="words"),
    _of("no-ks", "- KS", gate="threshold"),
    _of("no-cpt-no-ks", "- BOTH", prompts="words", gate="threshold"),
)


# What Table 4 also runs on a backbone that was not taught to read a context.
CONTROLLED = (None, ABLATIONS[0].key)

GPTJ_LN1 = _of(  # Table 5
    "gptj-ln1",
    "RECIPE (gptj_ln1)",
    "RECIPE with the released code's injection on GPT-J, which puts the prompt into the input of "
    "the first norm alone; trained so, and not compared with the others.",
    inject="gptj_ln1",
)


def row_variant(editor: str, hparams: Mapping[str, Any]) -> Variant | None:
    """The variant that has a row of its own beside RECIPE's, if these hyper-parameters are its."""
    own = editor == EDITOR and hparams.get("inject") == GPTJ_LN1.hparams["inject"]
    return GPTJ_LN1 if own else None


def ablation_of(hparams: Mapping[str, Any]) -> Variant | None:
    """Which row of Table 4 RECIPE's hyper-parameters are of; None for RECIPE as it is."""
    parts = {name for one in ABLATIONS for name in one.hparams}
    for one in ABLATIONS:
        changed = {**_WHOLE, **one.hparams}
        if all(hparams.get(name) == changed[name] for name in parts):
            return one
    return None


def variant_with(editor: str, changed: Sequence[str], hparams: Hparams) -> Variant | None:
    """The variant whose weights have these `name=value` changes of the preset, if it has a name."""
    values = hparams.to_dict()
    lengths = (variant(f"cpt={n}") for n in [values.get("prompt_length")] if n)
    for one in (*ABLATIONS, GPTJ_LN1, *lengths):
        if editor == EDITOR and changed == [f"{name}={v}" for name, v in one.hparams.items()]:
            return one
    return None


def variant(name: str) -> Variant:
    """The variant of that name; `cpt=N` is RECIPE with prompts of N tokens.

    Raises:
        ValueError: no variant of that name.
    """
    key = name.strip().lower()
    found = _LENGTH.fullmatch(key)
    if found:
        length = int(found[1])
        return _of(key, f"RECIPE, {length} CPT" + "s" * (length > 1), prompt_length=length)
    named = {one.key: one for one in (*ABLATIONS, GPTJ_LN1)}
    if key not in named:
        raise unknown_name("variant", name, (*named, *(f"cpt={length}" for length in LENGTHS)))
    return named[key]

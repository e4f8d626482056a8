"""The paper's tables as grids of cells, and the variants of RECIPE that they compare.

This is the only place that knows what the paper's tables hold. No digest and nothing heavy is
needed here; `bench.runner.planning` turns points into cells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

from bench.core.cells import CellKey
from bench.core.names import CONTROL, DATASETS, unknown_name

if TYPE_CHECKING:
    from editors.base import Hparams

Preset = Literal["embedded", "paper", "small"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
Measured = Literal["editing", "general_ability", "times", "ablation"]

SMALL = "smollm2-135m"  # the backbone of the preset `small`, fetched by `models fetch small`
SMALL_SEEDS = (0, 1, 2)
# Samples drawn at n edits in the embedded and small presets: ours, so that a cell takes seconds or
# minutes.
EMBEDDED_LIMITS = {1: 20, 10: 50, 100: 100, 1000: 1000, 10000: 10000}
# The paper preset's seeds take disjoint fifths of a test split: as many as the paper has seeds.
PARTS = 5
# RippleEdits has 1,388 test samples; the paper leaves these cells empty.
UNDEFINED = {("ripple_edits", 10000)}

RECIPE = "recipe"
LENGTHS = (1, 2, 3, 4, 5, 8)  # of continuous prompts in Figure 3, and 8 (ours)
_LENGTH = re.compile(r"cpt=([1-9][0-9]{0,3})")  # the name is a folder's too


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A named variant of RECIPE: a few hyper-parameters other than the preset's.

    Its weights lie in a folder of their own beside the preset's, and are not shipped.
    """

    key: str
    label: str
    hparams: Mapping[str, Any]
    about: str = ""  # for the caption of its row


def _of(key: str, label: str, about: str = "", **hparams: Any) -> Variant:
    return Variant(key=key, label=label, hparams=MappingProxyType(hparams), about=about)


_WHOLE = {"prompts": "continuous", "gate": "sentinel"}  # RECIPE as it is
# Table 4: the knowledge text's word embeddings in place of the continuous prompt (CPT), a plain
# contrastive loss with an absolute threshold in place of the knowledge sentinel (KS).
# The threshold depends on the number of stored edits.
_THRESHOLD: Mapping[str, Any] = {
    "gate": "threshold",
    "calibration_edits": [1, 10, 100, 1000, 10000],
}
ABLATIONS = (
    _of("no-cpt", "- CPT", prompts="words"),
    _of("no-ks", "- KS", **_THRESHOLD),
    _of("no-cpt-no-ks", "- BOTH", prompts="words", **_THRESHOLD),
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


# The embedded backbone, the paper's, and the paper's as its published table names it.
_LLAMA = ("mini-llama", "llama-2-7b", "LLAMA-2-7B")
_GPTJ = ("mini-gptj", "gpt-j-6b", "GPT-J-6B")
_GPT2 = ("mini-gpt2", "gpt2-xl", "GPT2-XL-1.5B")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A grid of editors x data sets x numbers of edits on one backbone."""

    number: int
    title: str
    names: tuple[str, str, str] = _LLAMA  # of the backbone
    embedded: tuple[int, ...] = (1, 10, 100)  # numbers of edits
    paper: tuple[int, ...] = (1, 10, 100, 1000, 10000)
    datasets: tuple[str, ...] = DATASETS
    editors: tuple[str, ...] | None = None  # None: all of the paper's
    variants: tuple[str | None, ...] = (None,)  # of RECIPE, by key; None is the preset
    control: str | None = None  # a second embedded backbone, with `controlled` of the variants
    controlled: tuple[str | None, ...] = ()
    measures: Measured = "editing"

    @property
    def backbones(self) -> Mapping[Preset, str]:
        return {"embedded": self.names[0], "paper": self.names[1], "small": SMALL}

    @property
    def published_backbone(self) -> str:
        return self.names[2]

    @property
    def edits(self) -> Mapping[Preset, tuple[int, ...]]:
        return {"embedded": self.embedded, "paper": self.paper, "small": self.embedded}


_TABLES = (
    Table(number=1, title="lifelong editing, in the paper of LLaMA-2-7B"),
    Table(
        number=2,
        title="general ability",
        embedded=(1000,),
        paper=(1000,),
        datasets=("zsre",),  # the paper does not say which
        measures="general_ability",
    ),
    Table(
        number=3,
        title="time of an edit and of an inference",
        embedded=(100,),
        paper=(10000,),
        datasets=("counterfact",),
        measures="times",
    ),
    Table(
        number=4,
        title="RECIPE without its parts",
        embedded=(100, 1000),
        paper=(100, 1000),
        editors=(RECIPE,),
        variants=(None, *(ablation.key for ablation in ABLATIONS)),
        control=CONTROL,
        controlled=CONTROLLED,
        measures="ablation",
    ),
    Table(
        number=5,
        title="lifelong editing, in the paper of GPT-J-6B",
        names=_GPTJ,
        variants=(None, GPTJ_LN1.key),
    ),
    Table(number=6, title="lifelong editing, in the paper of GPT2-XL", names=_GPT2),
)
TABLES = {table.number: table for table in _TABLES}


@dataclass(frozen=True)
class GridPoint:
    """A cell by its names, before digests and hyper-parameters are known."""

    backbone: str
    editor: str
    dataset: str
    n_edits: int
    seed: int
    limit: int | None
    variant: str | None = None  # of the editor; None is its preset

    @property
    def key(self) -> CellKey:
        """The cell's, whose backbone may be a path here."""
        return CellKey(self.backbone, self.editor, self.dataset, self.n_edits, self.seed)


def get_table(number: int) -> Table:
    if number not in TABLES:
        raise unknown_name("table", str(number), map(str, TABLES))
    return TABLES[number]


def default_limit(preset: Preset, n_edits: int) -> int | None:
    """Samples drawn at n edits; a number between the listed ones takes the lower one's.

    None where it depends on the size of the split, see `drawing`.
    """
    if preset == "paper":
        return None
    return max(n_edits, *(limit for n, limit in EMBEDDED_LIMITS.items() if n <= max(n_edits, 1)))


def drawing(limit: int | None, n_edits: int, rows: int, seed: int) -> tuple[int | None, int | None]:
    """(samples to draw of `rows` in a test split, which part of them); see `Cell`.

    Seeds draw disjoint parts as long as there are enough samples: those of a limit if there is one,
    else fifths of the split. Otherwise each seed draws from all.
    """
    size = limit or rows // PARTS
    if size < n_edits:
        return None, None
    return size, seed if seed and (seed + 1) * size <= rows else None


def row_variant(editor: str, hparams: Mapping[str, Any]) -> Variant | None:
    """The variant that has a row of its own beside RECIPE's, if these hyper-parameters are its."""
    own = editor == RECIPE and hparams.get("inject") == GPTJ_LN1.hparams["inject"]
    return GPTJ_LN1 if own else None


def ablation_of(hparams: Mapping[str, Any]) -> Variant | None:
    """Which row of Table 4 RECIPE's hyper-parameters are of; None for RECIPE as it is.

    How a threshold was calibrated makes no other row.
    """
    for ablation in ABLATIONS:
        parts = {**_WHOLE, **{k: v for k, v in ablation.hparams.items() if k in _WHOLE}}
        if all(hparams.get(name) == value for name, value in parts.items()):
            return ablation
    return None


def variant_with(editor: str, changed: Sequence[str], hparams: Hparams) -> Variant | None:
    """The variant whose weights have these `name=value` changes of the preset, if it has a name."""
    values = hparams.to_dict()
    lengths = (variant(f"cpt={n}") for n in [values.get("prompt_length")] if n)
    for named in (*ABLATIONS, GPTJ_LN1, *lengths):
        own = {f"{name}={value}" for name, value in named.hparams.items()}
        if editor == RECIPE and set(changed) == own:
            return named
    return None


def variant(name: str) -> Variant:
    """The variant of that name; `cpt=N` is RECIPE with prompts of N tokens."""
    key = name.strip().lower()
    if match := _LENGTH.fullmatch(key):
        length = int(match[1])
        return _of(key, f"RECIPE, {length} CPT" + "s" * (length > 1), prompt_length=length)
    by_key = {named.key: named for named in (*ABLATIONS, GPTJ_LN1)}
    if key not in by_key:
        raise unknown_name("variant", name, (*by_key, *(f"cpt={length}" for length in LENGTHS)))
    return by_key[key]

"""Tables to cells: the only place that knows what the paper's tables hold.

No digest and nothing heavy is needed here; `bench.runner.planning` turns points into cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from bench.core.miniatures import CONTROL
from bench.core.names import unknown_name
from bench.core.variants import ABLATIONS, CONTROLLED, EDITOR, GPTJ_LN1

Preset = Literal["embedded", "paper"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
Measured = Literal["editing", "general_ability", "times", "ablation"]

DATASETS = ("zsre", "counterfact", "ripple_edits")  # the paper's column order
RECENT = "not in the paper's tables"  # a note on later editors
# Samples drawn at n edits in the embedded preset: ours, so that a cell takes seconds to minutes.
EMBEDDED_LIMITS = {1: 20, 10: 50, 100: 100, 1000: 1000, 10000: 10000}
# RippleEdits has 1,388 test samples; the paper leaves these cells empty.
UNDEFINED = {("ripple_edits", 10000)}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A grid of editors x data sets x numbers of edits on one backbone."""

    number: int
    title: str
    backbones: Mapping[Preset, str]
    published_backbone: str  # as the published table names it
    edits: Mapping[Preset, tuple[int, ...]]
    datasets: tuple[str, ...] = DATASETS
    editors: tuple[str, ...] | None = None  # None: all of the paper's
    variants: tuple[str | None, ...] = (None,)  # of RECIPE, by key; None is the preset
    control: str | None = None  # a second embedded backbone, with `controlled` of the variants
    controlled: tuple[str | None, ...] = ()
    measures: Measured = "editing"


_EDITS: Mapping[Preset, tuple[int, ...]] = {
    "embedded": (1, 10, 100),
    "paper": (1, 10, 100, 1000, 10000),
}

TABLES = {
    1: Table(
        number=1,
        title="lifelong editing, in the paper of LLaMA-2-7B",
        backbones={"embedded": "mini-llama", "paper": "llama-2-7b"},
        published_backbone="LLAMA-2-7B",
        edits=_EDITS,
    ),
    2: Table(
        number=2,
        title="general ability",
        backbones={"embedded": "mini-llama", "paper": "llama-2-7b"},
        published_backbone="LLAMA-2-7B",
        edits={"embedded": (1000,), "paper": (1000,)},
        datasets=("zsre",),  # the paper does not say which
        measures="general_ability",
    ),
    3: Table(
        number=3,
        title="time of an edit and of an inference",
        backbones={"embedded": "mini-llama", "paper": "llama-2-7b"},
        published_backbone="LLAMA-2-7B",
        edits={"embedded": (100,), "paper": (10000,)},
        datasets=("counterfact",),
        measures="times",
    ),
    4: Table(
        number=4,
        title="RECIPE without its parts",
        backbones={"embedded": "mini-llama", "paper": "llama-2-7b"},
        published_backbone="LLAMA-2-7B",
        edits={"embedded": (100, 1000), "paper": (100, 1000)},
        editors=(EDITOR,),
        variants=(None, *(one.key for one in ABLATIONS)),
        control=CONTROL,
        controlled=CONTROLLED,
        measures="ablation",
    ),
    5: Table(
        number=5,
        title="lifelong editing, in the paper of GPT-J-6B",
        backbones={"embedded": "mini-gptj", "paper": "gpt-j-6b"},
        published_backbone="GPT-J-6B",
        edits=_EDITS,
        variants=(None, GPTJ_LN1.key),
    ),
    6: Table(
        number=6,
        title="lifelong editing, in the paper of GPT2-XL",
        backbones={"embedded": "mini-gpt2", "paper": "gpt2-xl"},
        published_backbone="GPT2-XL-1.5B",
        edits=_EDITS,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a user asked for; None takes the table's own choice."""

    preset: Preset = "embedded"
    backbone: str | None = None
    editors: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    edits: tuple[int, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    limit: int | None = None
    recent: bool = False  # whether all editors are meant to hold those of later papers too


@dataclass(frozen=True, kw_only=True)
class GridPoint:
    """A cell by its names, before digests and hyper-parameters are known."""

    backbone: str
    editor: str
    dataset: str
    n_edits: int
    seed: int
    limit: int | None
    variant: str | None = None  # of the editor; None is its preset


def get_table(number: int) -> Table:
    """The grid of a table of the paper.

    Raises:
        ValueError: no grid for this number.
    """
    if number not in TABLES:
        raise unknown_name("table", str(number), map(str, TABLES))
    return TABLES[number]


def default_limit(preset: Preset, n_edits: int) -> int | None:
    """Samples drawn at n edits; a number between the listed ones takes the lower one's."""
    if preset == "paper":
        return None
    return max(n_edits, *(limit for n, limit in EMBEDDED_LIMITS.items() if n <= max(n_edits, 1)))


def editor_keys(names: Iterable[str] | None = None, *, recent: bool = False) -> tuple[str, ...]:
    """Keys of the named editors, in the order of rows, each once.

    Without names they are all but those of later papers, and these too where `recent` asks so.

    Raises:
        ValueError: an unknown editor.
    """
    from editors import registry

    if names:
        keys = {registry.resolve(name) for name in names}
    else:
        keys = {key for key in registry.available() if recent or in_paper(key)}
    return tuple(sorted(keys, key=_row))


def in_paper(editor: str) -> bool:
    """Whether an editor is not marked as one of a later paper.

    Raises:
        ValueError: an unknown editor.
    """
    from editors import registry

    return registry.describe(editor).in_paper


def recent_labels() -> list[str]:
    """Labels of this package's editors that the paper's tables do not hold, in row order."""
    from editors import registry

    recent = (key for key in registry.shipped() if not in_paper(key))
    return [registry.describe(key).label for key in sorted(recent, key=_row)]


def place_of(editor: str, dataset: str) -> tuple[bool, int, str, int, str]:
    """What rows and columns of a table are ordered by."""
    return *_row(editor), position(DATASETS, dataset), dataset


def _row(key: str) -> tuple[bool, int, str]:
    """The paper's order, then later editors in theirs, then others alphabetically."""
    from editors import registry

    row = registry.describe(key).table_row
    return row is None, row or 0, key


def position(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)

"""Names of data sets, editors and miniature models: their order, and what a user may type.

Nothing heavy is imported here: listing names stays fast. An unknown name is a ValueError that names
the nearest one.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Mapping, Sequence

DATASETS = ("zsre", "counterfact", "ripple_edits")  # the paper's column order
RECENT = "not in the paper's tables"  # how they are labelled

# The miniature models.
BACKBONES = ("mini-llama", "mini-gptj", "mini-gpt2")
# mini-llama without documents that teach reading a context, for Table 4; it is not shipped.
CONTROL = "mini-llama-control"
ENCODER = "mini-roberta"
MODELS = (*BACKBONES, ENCODER)  # what `world build` trains by default


def editor_keys(names: Iterable[str] | None = None, *, recent: bool = False) -> tuple[str, ...]:
    """Keys of the named editors, in the order of rows, each once.

    Without names they are all but those of later papers, and with `recent` these too.
    """
    from editors import registry

    if names:
        keys = {registry.resolve(name) for name in names}
    else:
        keys = {key for key in registry.available() if recent or in_paper(key)}
    return tuple(sorted(keys, key=_row))


def in_paper(editor: str) -> bool:
    """Whether an editor is not marked as one of a later paper."""
    from editors import registry

    return registry.describe(editor).in_paper


def recent_labels() -> list[str]:
    """Labels of this package's editors that the paper's tables do not hold, in row order."""
    from editors import registry

    recent = (key for key in registry.shipped() if not in_paper(key))
    return [registry.describe(key).label for key in sorted(recent, key=_row)]


def row_order(editor: str, dataset: str) -> tuple[bool, int, str, int, str]:
    """What rows and columns of a table are ordered by."""
    return *_row(editor), position(DATASETS, dataset), dataset


def _row(key: str) -> tuple[bool, int, str]:
    """The paper's order, then later editors in theirs, then others alphabetically."""
    from editors import registry

    row = registry.describe(key).table_row
    return row is None, row or 0, key


def position(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


def unknown_name(kind: str, name: str, available: Iterable[str]) -> ValueError:
    """The error for a name that is none of `available`, with the nearest one."""
    choices = sorted(available)
    near = difflib.get_close_matches(name.lower(), [c.lower() for c in choices], n=1, cutoff=0.5)
    hint = "".join(f" Did you mean {c!r}?" for c in choices if [c.lower()] == near)
    return ValueError(f"Unknown {kind} {name!r}.{hint} Available: {', '.join(choices)}.")


def listed_names(text: str) -> tuple[str, ...]:
    """Names in a text, separated by commas, each once; one with a comma stands in quotes.

    Raises:
        ValueError: there is none, or more than a line.
    """
    try:
        parts = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:
        raise ValueError(f"expected names separated by commas, got {text!r:.60}.") from None
    names = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not names:
        raise ValueError("expected names separated by commas, got none.")
    return names


def resolve_name(kind: str, name: str, spellings: Mapping[str, Iterable[str]]) -> str:
    """The key whose spellings hold `name`, in any letter case; a key is its own spelling."""
    keys = {key.lower(): key for key in spellings}
    for key, others in spellings.items():
        keys |= {other.lower(): key for other in others}
    try:
        return keys[name.strip().lower()]
    except KeyError:
        raise unknown_name(kind, name, spellings) from None

"""Knowledge editors of causal language models; they know nothing of the benchmark around them.

`editors.get_editor(name, model, tokenizer)` is one to use by hand; see `editors.by_hand`.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from editors.parts.moved import MovedModules

if TYPE_CHECKING:
    from editors.by_hand import get_editor

__all__ = ["get_editor"]

# Modules that code outside this package may import by the names they had at first.
MOVED = {
    "editors.parts.subjects": "editors.parts.tokens",
    "editors.parts.weight_editor": "editors.parts.deltas",
}
sys.meta_path.append(MovedModules(MOVED))


def __getattr__(name: str) -> Any:
    if name == "get_editor":  # imported when it is used: names of editors cost no torch
        return vars(import_module("editors.by_hand"))[name]
    raise AttributeError(f"module 'editors' has no attribute {name!r}")

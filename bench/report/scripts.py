"""Data files of the report: scripts that hand over JSON, since pages opened as files cannot fetch.

Whatever a text holds, it stays a text: nothing in it ends a script or a string.
"""

from __future__ import annotations

import json
from typing import Any

from bench.core.console import visible

# Characters that mean something to HTML, and line ends that JavaScript has and JSON has not.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def script(name: str, *values: Any) -> bytes:
    """`report.NAME(value, ...);`."""
    arguments = ",".join(safe_json(value) for value in values)
    return f"report.{name}({arguments});\n".encode()


def safe_json(value: Any) -> str:
    """JSON that can stand anywhere in a script or a page; hidden characters are written out."""
    text = json.dumps(_shown(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _shown(value: Any) -> Any:
    """The same with every text made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(str(name)): _shown(part) for name, part in value.items()}
    return [_shown(part) for part in value] if isinstance(value, list | tuple) else value

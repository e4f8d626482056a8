"""Names that become file names: checked, so that none of them leads anywhere else."""

from __future__ import annotations

import unicodedata

# Ours: room for prefix, suffix and temporary name within the 255 bytes of common file systems.
LONGEST = 160
_SEPARATORS = "/\\"


def check_file_name(kind: str, name: str) -> str:
    """The name, if it is one part of a path and nothing but a name.

    Args:
        kind: what it is the name of, for the sentence.
        name: as a user or a file gave it.

    Raises:
        ValueError: empty, a dot or two, a separator, a control character, or too long.
    """
    reason = _reason(name)
    if reason is None:
        return name
    shown = name if len(name) <= 40 else f"{name[:40]}..."
    raise ValueError(
        f"The name of a {kind} becomes a file name: wanted at most {LONGEST} bytes without "
        f"separators or control characters, got {shown!r}, which {reason}."
    )


def _reason(name: str) -> str | None:
    if name.strip(" .") == "":
        return "names no file of its own"
    if any(character in name for character in _SEPARATORS):
        return "is a path"
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        return "holds control characters"
    size = len(name.encode())
    return f"has {size} bytes" if size > LONGEST else None

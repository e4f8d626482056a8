"""Ways in which a file is damaged."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Damage = Callable[[random.Random, bytes, bytes], bytes]  # (.., content, another file's)


def flipped(chance: random.Random, content: bytes, _: bytes) -> bytes:
    changed = bytearray(content)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def flipped_late(chance: random.Random, content: bytes, _: bytes) -> bytes:
    """In the last part, where a tensor's numbers are, and a header is not."""
    changed = bytearray(content)
    changed[chance.randrange(len(changed) * 3 // 4, len(changed))] ^= 1 << chance.randrange(3)
    return bytes(changed)


def truncated(chance: random.Random, content: bytes, _: bytes) -> bytes:
    return content[: chance.randrange(1, len(content))]


def emptied(chance: random.Random, content: bytes, _: bytes) -> bytes:
    return b""


def exchanged(chance: random.Random, _: bytes, other: bytes) -> bytes:
    return other


def scrambled(chance: random.Random, content: bytes, _: bytes) -> bytes:
    return chance.randbytes(len(content))


def not_text(chance: random.Random, content: bytes, _: bytes) -> bytes:
    """Not UTF-8 in one place."""
    place = chance.randrange(len(content))
    return content[:place] + b"\xff\xfe" + content[place + 2 :]


DAMAGES: tuple[Damage, ...] = (
    flipped,
    flipped_late,
    truncated,
    emptied,
    exchanged,
    scrambled,
    not_text,
)


def corrupt(path: Path, damage: Damage, chance: random.Random, other: bytes = b"another\n") -> None:
    """Damage a file, so that its content changes."""
    content = path.read_bytes()
    changed = content
    while changed == content:
        changed = damage(chance, content, other)
    path.write_bytes(changed)


def corrupted(
    path: Path, chance: random.Random, damages: Sequence[Damage] = DAMAGES
) -> Iterator[str]:
    """Damage a file in each way in turn, with the name of each; the file is restored."""
    content = path.read_bytes()
    for damage in damages:
        corrupt(path, damage, chance)
        yield f"{damage.__name__} {path.name}"
        path.write_bytes(content)

"""Ways in which a file is damaged."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[random.Random, bytes, bytes], bytes]  # of a content and another file's


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


def no_text(chance: random.Random, content: bytes, _: bytes) -> bytes:
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
    no_text,
)


def spoil(path: Path, damage: Damage, chance: random.Random, other: bytes = b"another\n") -> None:
    """Damage a file, so that its content is another one."""
    content = path.read_bytes()
    changed = content
    while changed == content:
        changed = damage(chance, content, other)
    path.write_bytes(changed)

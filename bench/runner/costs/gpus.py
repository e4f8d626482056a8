"""Which GPU memory an estimate is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GIB = 2.0**30
COMMON = (24.0, 40.0, 80.0)  # GiB of widespread cards, where none is at hand
USABLE = 0.9  # ours: the rest is the CUDA context's and lost between blocks


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Sizes in GiB, and where they come from."""

    sizes: tuple[float, ...]
    about: str

    def fits(self, wanted: float | None) -> str:
        """The smallest size that so many bytes fit into, `none`, or a dash for no number."""
        if wanted is None:
            return "-"
        size = smallest(wanted, self.sizes)
        if len(self.sizes) == 1:
            return "no" if size is None else "yes"
        return "none" if size is None else f"{size:g}"


def smallest(wanted: float, sizes: Sequence[float]) -> float | None:
    """The smallest of some sizes in GiB that has room for bytes; None for none."""
    return min((size for size in sizes if wanted <= USABLE * size * GIB), default=None)


def memory_at_hand(asked: float | None) -> Memory:
    """The size that was asked for, that of this machine's GPU, or the common ones."""
    if asked is not None:
        return Memory(sizes=(asked,), about=f"a GPU of {asked:g} GiB, as asked")
    import torch

    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        size = found.total_memory / GIB
        return Memory(sizes=(size,), about=f"the GPU at hand, {found.name} of {size:.0f} GiB")
    listed = ", ".join(f"{size:g}" for size in COMMON)
    return Memory(sizes=COMMON, about=f"no GPU here: the smallest of {listed} GiB is named")

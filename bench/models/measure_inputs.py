"""What optional metric sets read beside the model and the edits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

TEXTS = 50  # of the fixed text; ours
FACTS_IN_A_TEXT = 4


@dataclass(frozen=True, kw_only=True)
class MeasureInputs:
    """Plain values, so that they can go to a worker."""

    world_seed: int | None = None  # of the embedded world; None for real data
    text: str | None = (
        None  # a corpus as `bench.models.corpora` opens it; None takes the world's text
    )

    def texts(self) -> Sequence[str]:
        """The fixed text that no edit is about.

        Raises:
            OSError: the corpus cannot be read.
            ValueError: none was named, and no world has made one; or it is empty.
        """
        if self.text is None:
            if self.world_seed is None:
                raise ValueError(
                    "A fixed text is needed to tell a collapse on real data: --measure-text PATH, "
                    "such as the test split of WikiText-2 with one paragraph a line."
                )
            return world_texts(self.world_seed)
        from bench.models.corpora import open_corpus

        found = tuple(open_corpus(self.text, documents=TEXTS).texts())
        if not found:
            raise ValueError(f"The text {self.text} is empty.")
        return found

    def text_digest(self) -> str:
        """What tells this text from another; errors as in `texts`."""
        return sha256("\n".join(self.texts()).encode()).hexdigest()[:16]


NO_INPUTS = MeasureInputs()


@lru_cache(maxsize=2)
def world_texts(seed: int) -> tuple[str, ...]:
    """A text of the made world: taught facts that no test edit touches, in taught phrasings.

    Its draws are its own; no training has read it, but for what it says.
    """
    from bench.world.world import World

    world = World(seed)
    rng = world.rng("fixed text of metrics")
    texts = []
    for _ in range(TEXTS):
        facts = [
            world.core_kept[int(i)]
            for i in rng.integers(len(world.core_kept), size=FACTS_IN_A_TEXT)
        ]
        texts.append(" ".join(f"{world.taught_phrasing(f, rng)} {f.object}." for f in facts))
    return tuple(texts)

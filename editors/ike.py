"""IKE: in-context editing behind demonstrations (Zheng et al., EMNLP 2023).

Written after the paper and the original implementation Zce1112zslx/IKE: demonstrations come from
training edits that are near the new fact, the nearest last, then the fact's own. There every
question is asked behind the right fact, which an oracle names, so that it edits once. Here facts
lie in a memory, and a question retrieves the nearest by the cosine of its prompt, above a threshold
that training edits choose: ours, and so are its numbers. The encoder is that of the other
retrieval editors. It is not in the tables of the RECIPE paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from editors.base import EditRequest, Resources
from editors.parts.artefact import required_training
from editors.parts.checks import check_at_least
from editors.parts.demonstrations import BREAK, DemonstrationPool, answered, fact_in, opening
from editors.parts.in_context import InContextEditor, InContextHparams
from editors.parts.language_model import LanguageModel
from editors.parts.needs import Needs, Setting
from editors.parts.tokens import joint, prompt_ids

ANSWER = 64  # tokens that a row may still be continued by: what PromptBench decodes; ours


@dataclass(frozen=True, kw_only=True)
class IkeHparams(InContextHparams):
    """Defaults are the original's, but for the pool and the room."""

    demonstrations: int = 32  # beside the fact's own
    pool: int = 2_000  # training edits that they come from; ours
    # Tokens of the model's context that are left to the question and its answer; the demonstrations
    # that are farthest from the fact are left out until the others fit. Ours.
    room: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least("demonstrations", self.demonstrations, 0)
        check_at_least("pool", self.pool, 1)
        check_at_least("room", self.room, 1)

    @property
    def reads_training(self) -> bool:
        """For its demonstrations."""
        return self.demonstrations > 0 or super().reads_training


# Ours: what benchmarks/choose_hparams.py found on training edits. 32 demonstrations do not fit into
# 512 tokens, and models that were never taught to learn from demonstrations do worse with each.
MINIATURE = IkeHparams(demonstrations=1, pool=500)


class IkeEditor(InContextEditor[IkeHparams]):
    """States one fact in front of a question, behind demonstrations of what to do with it."""

    family: ClassVar[Literal["MP", "AP", "RB"]] = "RB"
    label: ClassVar[str] = "IKE"
    in_paper: ClassVar[bool] = False
    table_row = 15
    mark = ("#332288", "+")
    hparams_class = IkeHparams
    presets: ClassVar[Mapping[str, IkeHparams]] = {
        **dict.fromkeys(("llama-2-7b", "gpt-j-6b", "gpt2-xl"), IkeHparams()),
        "always": IkeHparams(retrieval="always"),
        **dict.fromkeys(("mini-llama", "mini-gpt2"), MINIATURE),
        "mini-gptj": replace(MINIATURE, demonstrations=2),
        "default": IkeHparams(),
        "tiny": IkeHparams(demonstrations=1, room=60),  # ours, for tests
    }

    @classmethod
    def needs(cls, hparams: IkeHparams, on: Setting) -> Needs:
        """The encoder, and a key of each edit and of each demonstration; texts lie on the host."""
        key = 4.0 * on.encoder.hidden
        pool = hparams.pool if hparams.demonstrations else 0
        return Needs(held=on.encoder.bytes + pool * key, per_edit=key)

    def __init__(self, lm: LanguageModel, hparams: IkeHparams, resources: Resources) -> None:
        """Encode the pool of demonstrations; see the base class."""
        super().__init__(lm, hparams, resources)
        self._pool = None
        if hparams.demonstrations:
            samples = required_training(resources, label=self.label)[: hparams.pool]
            self._pool = DemonstrationPool(self.vectors, samples, resources.seed)

    def prefix(self, context: str, length: int) -> list[int]:
        """Ids of a context without the demonstrations for which a long row leaves no place."""
        ids = super().prefix(context, length)
        while len(ids) + length + ANSWER > self._longest and BREAK in context:
            context = context.partition(BREAK)[2]
            ids = super().prefix(context, length)
        return ids

    def fact_in(self, context: str) -> str:
        """See the base class; without demonstrations and frame."""
        return fact_in(context.rpartition(BREAK)[2])

    def context_of(self, request: EditRequest) -> str:
        """See the base class; the nearest demonstration comes last but for the fact's own."""
        count = self.hparams.demonstrations
        others = [] if self._pool is None else self._pool.nearest(request, count)
        own = answered(request, request)
        for shown in range(len(others), -1, -1):
            text = self._text([*others[:shown][::-1], own], request)
            if self._fits(text):
                return text
        return self._text([], request)

    def _text(self, demonstrations: Sequence[str], request: EditRequest) -> str:
        return BREAK.join([*demonstrations, opening(request)]) + joint(self.lm.tokenizer)

    def _fits(self, text: str) -> bool:
        return len(prompt_ids(self.lm.tokenizer, text)) + self.hparams.room <= self._longest

    @property
    def _longest(self) -> int:
        return int(self.lm.model.config.max_position_embeddings)

"""IKE: in-context editing by demonstrations (Zheng et al., EMNLP 2023).

Written after the paper and the original implementation Zce1112zslx/IKE: demonstrations
show how a fact is copied, reworded and left alone. They come from training edits that are near the
new fact, the nearest last, then the fact's own. There an oracle puts the right fact in front of
every question, so that it edits once. Here facts lie in a memory, and a question retrieves the
nearest by the cosine of its prompt, above a threshold chosen on training edits: ours, and so are
its numbers. The encoder is that of the other
retrieval editors. It is not in the tables of the RECIPE paper.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch

from editors.base import EditRequest, EditSample, Probe, Resources
from editors.parts.artefact import required_training
from editors.parts.checks import check_at_least
from editors.parts.encoder import TextVectors
from editors.parts.fact_memory import InContextEditor, InContextHparams
from editors.parts.language_model import LanguageModel
from editors.parts.needs import EDIT_TOKENS, FACT_TOKENS, FORWARD, Needs, Setting
from editors.parts.texts import joined
from editors.parts.tokens import context_ids, joint
from editors.parts.training.examples import usable

KINDS = ("copy", "update", "retain")
SHARES = (4 / 32, 12 / 32, 16 / 32)  # of these kinds, in the original's 32 demonstrations
BREAK = "\n\n"  # between demonstrations
_FACT, _PROMPT = "New Fact: ", "\nPrompt:"
DEMONSTRATION_TOKENS = 35  # of a plan; ours, the middle of 25 to 45
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
    """States one fact in front of a question, after demonstrations of what to do with it."""

    family: ClassVar[Literal["MP", "AP", "RB"]] = "RB"
    label: ClassVar[str] = "IKE"
    in_paper: ClassVar[bool] = False
    table_row = 15
    mark = ("#332288", "+")
    edits_batches = True
    hparams_class = IkeHparams
    presets: ClassVar[Mapping[str, IkeHparams]] = {
        **dict.fromkeys(("llama-2-7b", "gpt-j-6b", "gpt2-xl", "smollm2-135m"), IkeHparams()),
        "always": IkeHparams(retrieval="always"),
        **dict.fromkeys(("mini-llama", "mini-gpt2"), MINIATURE),
        "mini-gptj": replace(MINIATURE, demonstrations=2),
        "default": IkeHparams(),
        "tiny": IkeHparams(demonstrations=1, room=60),  # ours, for tests
    }

    @classmethod
    def needs(cls, hparams: IkeHparams, on: Setting) -> Needs:
        """The encoder, and a key of each edit and of each demonstration; texts lie on the host.

        A fact is encoded for its key, and once more to find demonstrations.
        """
        key = 4.0 * on.encoder.hidden
        pool = hparams.pool if hparams.demonstrations else 0
        whole = hparams.demonstrations * DEMONSTRATION_TOKENS + FACT_TOKENS
        return Needs(
            held=on.encoder.bytes + pool * key,
            per_edit=key,
            edit_operations=2 * EDIT_TOKENS * FORWARD * on.encoder.parameters,
            prefix=min(whole, max(on.shape.context - hparams.room, 0)),
        )

    def __init__(self, lm: LanguageModel, hparams: IkeHparams, resources: Resources) -> None:
        """Encode the pool of demonstrations; see the base class."""
        super().__init__(lm, hparams, resources)
        self._pool = None
        if hparams.demonstrations:
            samples = required_training(resources, label=self.label)[: hparams.pool]
            self._pool = DemonstrationPool(self.vectors, samples, resources.seed)

    def prefix(self, context: str, length: int) -> list[int]:
        """Ids of a context without the demonstrations for which a long row leaves no space."""
        ids = super().prefix(context, length)
        while len(ids) + length + ANSWER > self._longest and BREAK in context:
            context = context.partition(BREAK)[2]
            ids = super().prefix(context, length)
        return ids

    def shown(self, fact: str) -> str:
        """See the base class; without demonstrations and frame."""
        return fact.rpartition(BREAK)[2].removeprefix(_FACT).rpartition(_PROMPT)[0]

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
        return len(context_ids(self.lm.tokenizer, text)) + self.hparams.room <= self._longest

    @property
    def _longest(self) -> int:
        return int(self.lm.model.config.max_position_embeddings)


# ---- Demonstrations -----------------------------------------------------------------------------


def opening(request: EditRequest) -> str:
    """A new fact, up to where the question about it goes."""
    return f"{_FACT}{joined(request.prompt, request.target)}{_PROMPT}"


def answered(request: EditRequest, asked: EditRequest | Probe) -> str:
    """A new fact with a question and its answer."""
    return f"{opening(request)} {joined(asked.prompt, asked.target)}"


def demonstration(sample: EditSample, kind: str, chance: float) -> str:
    """A fact with what is asked of it; `chance` in [0, 1) picks the probe.

    `copy` asks for the fact itself, `update` in other words, `retain` for something else.
    """
    if kind == "copy":
        return answered(sample.request, sample.request)
    probes = sample.generality if kind == "update" else sample.locality
    return answered(sample.request, probes[int(chance * len(probes))])


def kinds_of(count: int) -> tuple[str, ...]:
    """The kinds of `count` demonstrations, in the original's proportions."""
    copies, updates = (round(share * count) for share in SHARES[:2])
    numbers = (copies, updates, count - copies - updates)
    return tuple(kind for kind, number in zip(KINDS, numbers, strict=True) for _ in range(number))


class DemonstrationPool:
    """Training edits, found by what they say; those without probes of both kinds are left out."""

    def __init__(self, vectors: TextVectors, samples: Sequence[EditSample], seed: int) -> None:
        """Encode the pool.

        Raises:
            ValueError: no sample has probes of both kinds.
        """
        self._samples = usable(samples)
        if not self._samples:
            raise ValueError("Demonstrations need edits with probes of both kinds, got none.")
        self._vectors, self._seed = vectors, seed
        self._keys = vectors([demonstration(sample, "copy", 0.0) for sample in self._samples])

    def nearest(self, request: EditRequest, count: int) -> list[str]:
        """At most `count` demonstrations for a request, the nearest first.

        Kinds and probes are drawn for each request by its texts and the seed alone.
        """
        count = min(count, len(self._samples))
        if not count:
            return []
        query = self._vectors([f"{opening(request)} {request.prompt}"])[0]
        order = (self._keys @ query).argsort(descending=True, stable=True)  # of equals the first
        ranks = order[:count].tolist()
        digest = hashlib.sha256(f"{self._seed}\n{request.prompt}\n{request.target}".encode())
        generator = torch.Generator().manual_seed(int.from_bytes(digest.digest()[:7], "big"))
        places = torch.randperm(count, generator=generator).tolist()
        chances = torch.rand(count, generator=generator).tolist()
        kinds = kinds_of(count)
        return [
            demonstration(self._samples[rank], kinds[place], chance)
            for rank, place, chance in zip(ranks, places, chances, strict=True)
        ]

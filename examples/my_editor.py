"""Your own editor: a memory of answers, retrieved by the words of a question.

Every edit is one entry: the words of its prompt, and the tokens of its target. A question whose
words are near enough to those of an entry is answered by it: at each position of the answer the
logit of the entry's token is raised. The model answers other questions unchanged; its weights never
change. The editor is small, and fails on questions that say the same in other words.

    python -m bench run --editors examples/my_editor.py --datasets zsre --edits 1,10
    python -m bench contract examples/my_editor.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from editors.base import EditRequest, Hparams, Resources
from editors.parts.checks import check_above, check_at_least
from editors.parts.hooks import changed_output, watched_prefill
from editors.parts.language_model import LanguageModel
from editors.parts.retrieving import RetrievingEditor
from editors.parts.tokens import TokenBatch, pack_texts, target_ids, unpack_texts

NONE = -1  # of a text that no entry answers


@dataclass(frozen=True, kw_only=True)
class AnswerMemoryHparams(Hparams):
    """Checked at construction, so that no run starts with a bad value."""

    threshold: float = 0.5  # of the similarity of two sets of words, from 0 to 1
    strength: float = 300.0  # added to a logit, approximately

    def __post_init__(self) -> None:
        check_at_least("threshold", self.threshold, 0)
        check_above("strength", self.strength, 0)


class AnswerMemory(RetrievingEditor[AnswerMemoryHparams]):
    """`RetrievingEditor` needs `search`; the rest is what every editor has."""

    family: ClassVar[Literal["MP", "AP", "RB"]] = "RB"  # it retrieves
    label: ClassVar[str] = "AnswerMemory"  # as tables print it
    hparams_class = AnswerMemoryHparams
    presets: ClassVar[Mapping[str, AnswerMemoryHparams]] = {"default": AnswerMemoryHparams()}

    def __init__(self, lm: LanguageModel, hparams: AnswerMemoryHparams, resources: Resources):
        super().__init__(lm, hparams, resources)
        self.reset()

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Add one entry a request; nothing is replaced."""
        self.entries += [(request.prompt, request.target) for request in requests]

    def reset(self) -> None:
        """Forget all entries. Nothing else was changed, so this is exact."""
        self.entries: list[tuple[str, str]] = []  # prompt, target

    def state_dict(self) -> dict[str, Tensor]:
        """The entries as tensors: a long stream is checkpointed and continued."""
        prompts, targets = [p for p, _ in self.entries], [t for _, t in self.entries]
        return pack_texts(prompts, "prompts") | pack_texts(targets, "targets")

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the entries by those of `state_dict`."""
        prompts, targets = unpack_texts(state, "prompts"), unpack_texts(state, "targets")
        self.entries = list(zip(prompts, targets, strict=True))

    def search(self, texts: Sequence[str]) -> Tensor:
        """Number [B] of the entry that answers each text: the nearest, the newest of equals."""
        entries = []
        for text in texts:
            near = [similarity(text, prompt) for prompt, _ in self.entries]
            best = max(range(len(near)), key=lambda i: (near[i], i), default=NONE)
            entries.append(best if near and near[best] >= self.hparams.threshold else NONE)
        return torch.tensor(entries, device=self.lm.device)

    @contextmanager
    def steering(self, batch: TokenBatch) -> Iterator[None]:
        """Raise logits while this batch is answered; the hooks are gone afterwards."""
        retrieved = self.retrieve(batch.texts).tolist()
        targets = ["" if entry == NONE else self.entries[entry][1] for entry in retrieved]
        rows = [target_ids(self.lm.tokenizer, text) if text else [] for text in targets]
        head = self.lm.model.lm_head.weight  # [V, d]: a logit is a row times the hidden state
        directions = head - head.mean(dim=0)  # the mean would raise all logits alike
        step = 0  # tokens of the answer that earlier forwards have read

        def pushed(_: Tensor, hidden: Tensor) -> Tensor:  # [B, T, d] before the head
            nonlocal step
            step = 0 if prefill.active else step + 1
            moved = hidden.clone()
            for row, (answer, length) in enumerate(zip(rows, batch.prompt_lengths, strict=True)):
                for number, token in enumerate(answer):
                    place = length - 1 + number if prefill.active else number - step
                    if 0 <= place < hidden.shape[1]:
                        up = directions[token]
                        moved[row, place] += self.hparams.strength * up / up.norm() ** 2
            return moved

        with ExitStack() as stack:
            prefill = stack.enter_context(watched_prefill(self.lm.base))
            norm = self.lm.module(self.lm.architecture.final_norm)
            stack.enter_context(changed_output(norm, pushed))
            yield


def similarity(*texts: str) -> float:
    """Shared words of two texts over all their words, from 0 to 1, whatever their order."""
    first, second = (set(re.findall(r"\w+", text.lower())) for text in texts)
    return len(first & second) / max(len(first | second), 1)

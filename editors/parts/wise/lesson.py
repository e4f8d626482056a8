"""What one edit teaches a side memory: the fact behind contexts, and a row that is out of scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from editors.base import EditRequest
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, batch_of_ids, pad_id, prompt_ids, target_ids
from editors.parts.wise.hparams import RoutedOn


@dataclass(frozen=True)
class Lesson:
    """R rows of the fact, each whole, then one row that is out of scope.

    Activations of a row are means over the positions that a mask marks; a row without any mark has
    none.
    """

    batch: TokenBatch  # R + 1 rows without targets
    rows: Tensor  # [N] of the positions that predict target tokens
    columns: Tensor  # [N]
    labels: Tensor  # [N]
    inside: Tensor  # bool [R + 1, T], what the memory is for
    outside: Tensor  # bool [R + 1, T], what it is not for
    recorded: Tensor  # bool [R + 1, T], whose activation routing will compare with

    def loss(self, lm: LanguageModel, states: Tensor) -> Tensor:
        """Mean over facts of their negative log-likelihood over (tokens + 1) (original).

        `states` [R + 1, T, d] are the final ones.
        """
        logits = lm.head(states[self.rows, self.columns])
        losses = functional.cross_entropy(logits.to(_exact(logits)), self.labels, reduction="none")
        counts = torch.bincount(self.rows)
        facts = (counts > 0).sum()
        return (losses / ((counts[self.rows] + 1) * facts)).sum()


def lesson_of(
    lm: LanguageModel,
    request: EditRequest,
    templates: Sequence[str],
    unrelated: str,
    routed_on: RoutedOn,
) -> Lesson:
    """The rows of a request under each context template, and an unrelated text.

    Positions are those of real tokens, where the original counts padding too.
    """
    tokenizer = lm.tokenizer
    prompts = [
        prompt_ids(tokenizer, template.replace("{}", request.prompt, 1)) for template in templates
    ]
    target = target_ids(tokenizer, request.target)
    whole = [[*prompt, *target] for prompt in prompts] + [prompt_ids(tokenizer, unrelated)]
    batch = batch_of_ids(
        whole, [()] * len(whole), [""] * len(whole), padding=pad_id(tokenizer), device=lm.device
    )
    real = batch.attention_mask.bool()
    facts = (torch.arange(len(whole), device=lm.device) < len(prompts))[:, None]
    ends = torch.tensor([*map(len, prompts), 0], device=lm.device)[:, None]
    in_prompt = torch.arange(real.shape[1], device=lm.device) < ends
    return Lesson(
        batch,
        rows=torch.tensor([i for i in range(len(prompts)) for _ in target], device=lm.device),
        columns=torch.tensor(
            [len(prompt) - 1 + j for prompt in prompts for j in range(len(target))],
            device=lm.device,
        ),
        labels=torch.tensor(target * len(prompts), device=lm.device),
        inside=real & facts,
        outside=real & ~facts,
        recorded=in_prompt if routed_on == "prompt" else real & facts,
    )


def activations(distances: Tensor, positions: Tensor) -> Tensor:
    """Means of distances [B, T] over the marked positions [B, T], of the rows that have any."""
    kept = positions.any(dim=1)
    distances, positions = distances[kept], positions[kept]
    return (distances * positions).sum(dim=1) / positions.sum(dim=1)


def _exact(logits: Tensor) -> torch.dtype:
    return torch.float64 if logits.dtype == torch.float64 else torch.float32

"""What a side memory is trained on, the rows of an edit, and where: the layer beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from editors.base import EditRequest
from editors.parts.language_model import LanguageModel
from editors.parts.tokens import TokenBatch, prompt_ids, target_ids
from editors.parts.wise.hparams import RoutedOn, WiseHparams


@dataclass(frozen=True)
class TrainingRows:
    """R rows of the fact, each with its target, then one row that is out of scope.

    Activations of a row are means over the positions that a mask marks; a row without any mark has
    none.
    """

    batch: TokenBatch  # R + 1 rows without targets
    rows: Tensor  # [N] of the positions that predict target tokens
    columns: Tensor  # [N]
    labels: Tensor  # [N]
    in_scope: Tensor  # bool [R + 1, T]
    out_of_scope: Tensor  # bool [R + 1, T]
    recorded: Tensor  # bool [R + 1, T], whose activation routing compares with later

    def loss(self, lm: LanguageModel, states: Tensor) -> Tensor:
        """L_ft: mean over rows of the target's negative log-likelihood over (tokens + 1).

        `states` [R + 1, T, d] are the final ones.
        """
        logits = lm.head(states[self.rows, self.columns])
        exact = torch.promote_types(logits.dtype, torch.float32)
        losses = functional.cross_entropy(logits.to(exact), self.labels, reduction="none")
        counts = torch.bincount(self.rows)
        facts = (counts > 0).sum()
        return (losses / ((counts[self.rows] + 1) * facts)).sum()


def training_rows(
    lm: LanguageModel,
    request: EditRequest,
    templates: Sequence[str],
    unrelated: str,
    routed_on: RoutedOn,
) -> TrainingRows:
    """The rows of a request under each context template, and an unrelated text.

    Positions are those of real tokens, where the original counts padding too.
    """
    tokenizer = lm.tokenizer
    prompts = [
        prompt_ids(tokenizer, template.replace("{}", request.prompt, 1)) for template in templates
    ]
    target = target_ids(tokenizer, request.target)
    whole = [[*prompt, *target] for prompt in prompts] + [prompt_ids(tokenizer, unrelated)]
    batch = lm.batch_of_pairs([(row, ()) for row in whole])
    real = batch.attention_mask.bool()
    facts = (torch.arange(len(whole), device=lm.device) < len(prompts))[:, None]
    ends = torch.tensor([*map(len, prompts), 0], device=lm.device)[:, None]
    in_prompt = torch.arange(real.shape[1], device=lm.device) < ends
    return TrainingRows(
        batch,
        rows=torch.tensor([i for i in range(len(prompts)) for _ in target], device=lm.device),
        columns=torch.tensor(
            [len(prompt) - 1 + j for prompt in prompts for j in range(len(target))],
            device=lm.device,
        ),
        labels=torch.tensor(target * len(prompts), device=lm.device),
        in_scope=real & facts,
        out_of_scope=real & ~facts,
        recorded=in_prompt if routed_on == "prompt" else real & facts,
    )


def activations(distances: Tensor, positions: Tensor) -> Tensor:
    """Means of distances [B, T] over the marked positions [B, T], of the rows that have any."""
    marked = positions.any(dim=1)
    distances, positions = distances[marked], positions[marked]
    return (distances * positions).sum(dim=1) / positions.sum(dim=1)


@dataclass(frozen=True)
class SideLayer:
    """A linear module of one block; memories of it are (out, in), in single precision or more.

    Its bias belongs to every path (the original forgets GPT-J's on all but the main one).
    """

    module: nn.Module
    block: int
    activation: nn.Module  # the MLP's non-linearity
    original: Tensor  # [d_out, d_in]

    @classmethod
    def of(cls, lm: LanguageModel, hparams: WiseHparams, block: int) -> SideLayer:
        """The layer that the hyper-parameters name, in block number `block`."""
        row = lm.architecture
        module = lm.module(row.mlp_out if hparams.projection == "mlp_out" else row.mlp_in[0], block)
        weight = row.as_out_in(module.get_parameter("weight").detach())
        exact = torch.promote_types(lm.dtype, torch.float32)
        return cls(module, block, lm.module(row.mlp_activation, block), weight.to(exact))

    def answer(self, inputs: Tensor, weight: Tensor) -> Tensor:
        """Outputs [B, T, d_out] of another weight W' [d_out, d_in]."""
        bias = getattr(self.module, "bias", None)
        return functional.linear(inputs, weight.to(inputs.dtype), bias)

    def distances(self, own: Tensor, other: Tensor) -> Tensor:
        """|act(W' x) - act(W x)| [B, T] of outputs [B, T, d_out]: how far W' moves the layer."""
        exact = self.original.dtype
        difference = self.activation(other.to(exact)) - self.activation(own.to(exact))
        norms: Tensor = torch.linalg.vector_norm(difference, dim=-1)
        return norms

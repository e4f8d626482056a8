"""RECIPE's trained network: encoder, knowledge and query projections, sentinel, prompt MLP."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from editors.parts.encoder import SentenceEncoder
from editors.parts.inner_product_index import InnerProductIndex
from editors.parts.needs import Setting, parameters_of
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.repository import PromptRepository

# Bound of the sentinel's uniform initialisation, from the released code.
_SENTINEL_BOUND = 0.05


class RepresentationMLP(nn.Module):
    """Pooled vector [B, P] to representation [B, d_r]: a linear map, then a ReLU residual.

    The paper names two linear layers and a residual connection; the released code applies no
    activation behind the first.
    """

    def __init__(self, pooled_size: int, width: int) -> None:
        super().__init__()
        self.inward = nn.Linear(pooled_size, width)
        self.residual = nn.Linear(width, width)

    def forward(self, pooled: Tensor) -> Tensor:
        hidden: Tensor = self.inward(pooled)
        return hidden + torch.relu(self.residual(hidden))


class PromptMLP(nn.Module):
    """Knowledge representation [B, d_r] to a continuous prompt [B, l, d]: residual, then linear."""

    def __init__(self, width: int, prompt_length: int, hidden_size: int) -> None:
        super().__init__()
        self.shape = (prompt_length, hidden_size)
        self.residual = nn.Linear(width, width)
        self.outward = nn.Linear(width, prompt_length * hidden_size)

    def forward(self, representation: Tensor) -> Tensor:
        hidden = representation + torch.relu(self.residual(representation))
        prompts: Tensor = self.outward(hidden)
        return prompts.reshape(-1, *self.shape)


class RecipeNetwork(nn.Module):
    """Everything that RECIPE trains; the language model stays frozen (paper section 4).

    `hidden_size` is the language model's d. Build it under a forked generator: modules draw their
    initial weights from the global one.
    """

    def __init__(self, encoder: SentenceEncoder, hparams: RecipeHparams, hidden_size: int) -> None:
        super().__init__()
        width = hparams.representation_width
        self.embeds_sentinel = hparams.sentinel == "embedded"
        # In the sentinel's place, where there is one; `calibration` chooses it.
        self.threshold: Tensor | None
        self.register_buffer("threshold", torch.zeros(()) if hparams.gate == "threshold" else None)
        self.encoder = encoder
        self.mlp_k = RepresentationMLP(encoder.pooled_size, width)
        self.mlp_q = RepresentationMLP(encoder.pooled_size, width)
        self.mlp_p = PromptMLP(width, hparams.prompt_length, hidden_size)
        with torch.no_grad():
            if hparams.query_init == "knowledge":
                self.mlp_q.load_state_dict(self.mlp_k.state_dict())
            for parameter in self.mlp_p.outward.parameters():
                parameter.mul_(hparams.prompt_init_scale)
        self.sentinel = nn.Parameter(
            torch.empty(1, hparams.sentinel_length, encoder.hidden_size).uniform_(
                -_SENTINEL_BOUND, _SENTINEL_BOUND
            )
        )

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Pooled vectors [B, P] that both projections read."""
        pooled: Tensor = self.encoder(input_ids, attention_mask)
        return pooled

    def knowledge(self, pooled: Tensor) -> Tensor:
        """Retrieval keys [B, d_r], which are also what prompts are made of."""
        keys: Tensor = self.mlp_k(pooled)
        return keys

    def queries(self, pooled: Tensor) -> Tensor:
        """Query representations [B, d_r]."""
        queries: Tensor = self.mlp_q(pooled)
        return queries

    def prompts(self, keys: Tensor) -> Tensor:
        """Continuous prompts [B, l, d] of keys [B, d_r]."""
        prompts: Tensor = self.mlp_p(keys)
        return prompts

    def sentinel_key(self) -> Tensor:
        """The knowledge sentinel's key [1, d_r]: the threshold that an edit must beat."""
        if self.embeds_sentinel:
            return self.knowledge(self.encoder.forward_embedded(self.sentinel))
        return self.knowledge(self.encoder.forward_hidden(self.sentinel))

    def repository(
        self,
        state: Mapping[str, Tensor] | None = None,
        *,
        index: InnerProductIndex | None = None,
    ) -> PromptRepository:
        """A repository without edits, or with those of its `state_dict`."""
        threshold = None if self.threshold is None else float(self.threshold)
        if state is not None:
            return PromptRepository.from_state_dict(state, threshold, index)
        length, hidden = self.mlp_p.shape
        return PromptRepository(
            self.sentinel_key(),
            prompt_length=length,
            hidden_size=hidden,
            threshold=threshold,
            index=index,
        )


def similarity(queries: Tensor, keys: Tensor, *, scaled: bool) -> Tensor:
    """Scores [Q, K] of queries [Q, d_r] against keys [K, d_r].

    Dot products, divided by sqrt(d_r) where `scaled` (released code; the paper has none).
    """
    scores = queries @ keys.T
    return scores / math.sqrt(queries.shape[-1]) if scaled else scores


def recipe_parameters(hparams: RecipeHparams, on: Setting) -> int:
    """Parameters that training changes: encoder, both projections, prompt MLP and sentinel."""
    width, code, encoder = hparams.representation_width, hparams.pool == "code4", on.encoder
    pooled = encoder.hidden * (4 if code else 3)
    mlps = parameters_of(
        lambda: nn.ModuleList(
            [
                RepresentationMLP(pooled, width),
                RepresentationMLP(pooled, width),
                PromptMLP(width, hparams.prompt_length, on.shape.hidden),
            ]
        )
    )
    sentinel = hparams.sentinel_length * encoder.hidden
    return encoder.parameters + (encoder.pooler if code else 0) + mlps + sentinel


def trainable_parameters(network: nn.Module) -> int:
    """Number of parameters that training changes."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)

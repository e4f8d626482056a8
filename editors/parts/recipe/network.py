"""RECIPE's trained network: encoder, knowledge and query projections, sentinel, prompt MLP."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from editors.parts.artefact import files_digest
from editors.parts.encoder import SentenceEncoder, TextBatcher, read_config
from editors.parts.language_model import LanguageModel
from editors.parts.needs import Setting, parameters_of
from editors.parts.recipe.hparams import RecipeHparams
from editors.parts.recipe.repository import InnerProductIndex, PromptRepository

# Bound of the sentinel's uniform initialisation, from the released code.
_SENTINEL_BOUND = 0.05


class RepresentationMLP(nn.Module):
    """MLP_K and MLP_Q: pooled vector [B, P] to representation [B, d_r].

    The paper names two linear layers and a residual connection; the released code applies no
    activation after the first.
    """

    def __init__(self, pooled_size: int, width: int) -> None:
        super().__init__()
        self.inward = nn.Linear(pooled_size, width)
        self.residual = nn.Linear(width, width)

    def forward(self, pooled: Tensor) -> Tensor:
        hidden: Tensor = self.inward(pooled)  # [B, d_r]
        return hidden + torch.relu(self.residual(hidden))


class PromptMLP(nn.Module):
    """MLP_P, the prompt learner: representation [B, d_r] to a continuous prompt [B, l, d]."""

    def __init__(self, width: int, prompt_length: int, hidden_size: int) -> None:
        super().__init__()
        self.shape = (prompt_length, hidden_size)
        self.residual = nn.Linear(width, width)
        self.outward = nn.Linear(width, prompt_length * hidden_size)

    def forward(self, representation: Tensor) -> Tensor:
        hidden = representation + torch.relu(self.residual(representation))
        prompts: Tensor = self.outward(hidden)  # [B, l * d]
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
        # Stands in for the sentinel in the ablation without it; calibrated on training edits.
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
        """Retrieval keys r_k = MLP_K(f_rm(k)) [B, d_r], from which prompts are computed too."""
        keys: Tensor = self.mlp_k(pooled)
        return keys

    def queries(self, pooled: Tensor) -> Tensor:
        """Query representations MLP_Q(f_rm(q)) [B, d_r]."""
        queries: Tensor = self.mlp_q(pooled)
        return queries

    def prompts(self, keys: Tensor) -> Tensor:
        """Continuous prompts p_k = MLP_P(r_k) [B, l, d] of keys [B, d_r]."""
        prompts: Tensor = self.mlp_p(keys)
        return prompts

    def sentinel_key(self) -> Tensor:
        """The knowledge sentinel's key r_Theta [1, d_r]: an edit must score higher than it.

        Its c trainable word vectors skip the encoder's embedding module in the released code.
        """
        if self.embeds_sentinel:
            return self.knowledge(self.encoder.forward_embedded(self.sentinel))
        return self.knowledge(self.encoder.forward_hidden(self.sentinel))

    def repository(
        self,
        state: Mapping[str, Tensor] | None = None,
        *,
        index: InnerProductIndex | None = None,
    ) -> PromptRepository:
        """A repository with the sentinel alone, or with the rows of its `state_dict`."""
        if state is None:
            sentinel = self.sentinel_key()
            state = {"keys": sentinel, "prompts": sentinel.new_zeros(1, *self.mlp_p.shape)}
        threshold = None if self.threshold is None else float(self.threshold)
        return PromptRepository(state["keys"], state["prompts"], threshold=threshold, index=index)


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


@dataclass(frozen=True)
class Trained:
    """A network with what turns text into its input."""

    network: RecipeNetwork
    batcher: TextBatcher

    def pooled(self, rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
        """Pooled vectors [B, P] of rows of encoder ids."""
        return self.network.pooled(*self.batcher.pad(rows, device))


def fresh_network(lm: LanguageModel, hparams: RecipeHparams, encoder: Path, seed: int) -> Trained:
    """The network that training starts from, around a pre-trained sentence encoder."""
    hparams.check_backbone(lm.architecture.model_type)
    sentences = SentenceEncoder.from_directory(encoder, pool=hparams.pool, seed=seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = RecipeNetwork(sentences, hparams, lm.hidden_size)
    batcher = TextBatcher.from_directory(encoder, sentences.max_length)
    return Trained(network.to(lm.device), batcher)


def empty_network(lm: LanguageModel, hparams: RecipeHparams, encoder: Path) -> Trained:
    """A network for trained weights; the encoder's directory gives its shape and its tokenizer."""
    config = read_config(encoder)
    with torch.random.fork_rng(devices=[]):  # initial weights are drawn, then replaced
        sentences = SentenceEncoder(config, pool=hparams.pool)
        network = RecipeNetwork(sentences, hparams, lm.hidden_size)
    batcher = TextBatcher.from_directory(encoder, sentences.max_length)
    return Trained(network.to(lm.device), batcher)


def encoder_digest(encoder: Path) -> str:
    """sha256 of the files that fix what the encoder's ids mean and how wide it is.

    Its weights are in the artefact.

    Raises:
        FileNotFoundError: one of the files is missing.
    """
    paths = [encoder / name for name in ("config.json", "tokenizer.json")]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"No sentence encoder at {encoder}: {path.name} is missing.")
    return files_digest(paths)

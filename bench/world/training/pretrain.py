"""Pre-training of the miniature backbones and of the miniature encoder on the world's corpus.

Batches are functions of (world seed, step): an interrupted run continues from its last checkpoint
with the data that it would have seen.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerFast, RobertaForMaskedLM, RobertaModel

from bench.core.files import write_tensors
from bench.core.progress import show_steps
from bench.world.corpus import PHASES, SEPARATOR, Corpus, Document, plain_text
from bench.world.world import World

# Of the tokens that are hardly predictable (names, questions) this share is scored, at a weight
# that leaves the sum as it is: the head costs a third of a step, and answers are to be learned.
SCORED_BACKGROUND = 0.25
# Of the rows of a model with learned positions this share begins anywhere in its context: rows are
# shorter than the context, and the rest of the table would never be trained (ours).
SHIFTED = 0.25
CHUNK = 50  # steps whose documents are drawn and tokenised together
IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a miniature model is trained; all values are ours."""

    steps: int  # of the cosine
    polish: int = 0  # steps after it, from a tenth of the rate down to none
    rows: int  # of a batch
    width: int  # tokens of a row
    lr: float = 3e-3
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    clip: float = 1.0
    checkpoint: int = 250
    begin: float = 0.0  # the corpus' progress at the first step; more for a model that can read

    @property
    def tokens(self) -> int:
        return self.total * self.rows * self.width

    @property
    def total(self) -> int:
        """All steps."""
        return self.steps + self.polish


class CausalRows:
    """Rows of whole documents for next-token prediction: ids [B, T] and loss weights [B, T].

    Every document ends with the end-of-text token. A tokenizer that starts texts with another
    token (BOS) has it at the separator of every document. If both are the same token, it stands
    between a document and the next, and at the separator after a context; the first row of text
    then has nothing in front of it, as a prompt has nothing.

    With `learned_positions`, the size of the model's position table, each row has the position
    [B, 1] of its first token as well; None is for rotary positions.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: PreTrainedTokenizerFast,
        training: Training,
        *,
        learned_positions: int | None = None,
    ) -> None:
        self._corpus, self._tokenizer, self._training = corpus, tokenizer, training
        self._learned_positions = learned_positions
        self._separator = [int(tokenizer.bos_token_id)]
        self._end = [int(tokenizer.eos_token_id)]

    def chunk(self, index: int) -> tuple[Tensor, ...]:
        """Ids, weights [CHUNK * B, T] (and starts [CHUNK * B, 1]) of steps `index * CHUNK ..`."""
        training = self._training
        n_rows = CHUNK * training.rows
        ids = np.zeros((n_rows, training.width), dtype=np.int64)
        weights = np.zeros((n_rows, training.width), dtype=np.float32)
        rng = self._corpus.world.rng("corpus", index)
        progress = max(training.begin, index * CHUNK / training.steps)
        stream = self._encoded(rng, progress)
        for row in range(n_rows):
            filled = 0
            while filled < training.width:
                tokens, token_weights = next(stream)
                take = min(len(tokens), training.width - filled)
                ids[row, filled : filled + take] = tokens[:take]
                weights[row, filled : filled + take] = token_weights[:take]
                filled += take
        background = (weights > 0) & (weights < 0.5)
        scored = rng.random(weights.shape) < SCORED_BACKGROUND
        weights[background] *= scored[background] / SCORED_BACKGROUND
        return (torch.from_numpy(ids), torch.from_numpy(weights), *self._starts(index, n_rows))

    def _starts(self, index: int, n_rows: int) -> tuple[Tensor, ...]:
        if self._learned_positions is None:
            return ()
        rng = self._corpus.world.rng("positions", index)
        last = self._learned_positions - self._training.width
        starts = rng.integers(last + 1, size=(n_rows, 1))
        starts[rng.random(n_rows) >= SHIFTED] = 0
        return (torch.from_numpy(starts),)

    def _encoded(
        self, rng: np.random.Generator, progress: float
    ) -> Iterator[tuple[list[int], list[float]]]:
        while True:
            documents = list(self._corpus.documents(rng, 2000, progress))
            texts = [span.text for document in documents for span in document]
            encoded = iter(self._tokenizer(texts, add_special_tokens=False)["input_ids"])
            for document in documents:
                yield self._join(document, encoded)

    def _join(
        self, document: Document, encoded: Iterator[list[int]]
    ) -> tuple[list[int], list[float]]:
        ids: list[int] = []
        weights: list[float] = []
        for place, span in enumerate(document):
            tokens = next(encoded)
            if span == SEPARATOR:
                ended = place == 0 and self._separator == self._end
                tokens = [] if ended else self._separator
            ids += tokens
            weights += [span.weight] * len(tokens)
        return ids + self._end, [*weights, 1.0]


class _PaddedRows:
    def __init__(
        self, corpus: Corpus, tokenizer: PreTrainedTokenizerFast, training: Training
    ) -> None:
        self._corpus, self._tokenizer, self._training = corpus, tokenizer, training

    def _padded(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids and attention mask [B, T]."""
        encoded = self._tokenizer(
            list(texts), padding="max_length", truncation=True,
            max_length=self._training.width, return_tensors="pt",
        )  # fmt: skip
        return encoded["input_ids"], encoded["attention_mask"]


class MaskedRows(_PaddedRows):
    """Padded texts with 15 % of tokens masked: ids, attention mask and labels [B, T]."""

    def chunk(self, index: int) -> tuple[Tensor, ...]:
        """Rows of the steps `index * CHUNK ..`."""
        rng = self._corpus.world.rng("masked", index)
        documents = self._corpus.sentences(rng, CHUNK * self._training.rows)
        ids, mask = self._padded([plain_text(document) for document in documents])
        draw = torch.from_numpy(rng.random(ids.shape))
        maskable = (mask == 1) & (ids > 4)  # the five special tokens come first
        chosen = maskable & (draw < 0.15)
        labels = torch.where(chosen, ids, IGNORED)
        noise = torch.from_numpy(rng.integers(5, len(self._tokenizer), ids.shape))
        # BERT's 80 / 10 / 10: masked, random, unchanged.
        ids = torch.where(chosen & (draw < 0.12), self._tokenizer.mask_token_id, ids)
        ids = torch.where(chosen & (draw >= 0.12) & (draw < 0.135), noise, ids)
        return ids, mask, labels


class ParaphraseRows(_PaddedRows):
    """Pairs of texts about the same fact: ids and attention masks [B, T] of both sides."""

    def chunk(self, index: int) -> tuple[Tensor, ...]:
        """Both sides of the steps `index * CHUNK ..`."""
        rng = self._corpus.world.rng("paraphrases", index)
        pairs = list(self._corpus.paraphrases(rng, CHUNK * self._training.rows))
        left, right = zip(*pairs, strict=True)
        return (*self._padded(left), *self._padded(right))


# ---- training ----------------------------------------------------------------------------------

Loss = Callable[[Any, tuple[Tensor, ...]], Tensor]  # of a model and a batch
Hint = Callable[[Tensor, int], Tensor]  # a term of the loss after the forward of ids [B, T]; step
BACKBONE_TRAINING = Training(steps=5000, polish=400, rows=32, width=128)  # 22 M tokens
# Of a backbone that can read: it inherits another world's weights, or has imitated.
INHERITED_TRAINING = Training(
    steps=3600, polish=400, rows=32, width=128, weight_decay=0.5, begin=PHASES[0]
)  # 16 M tokens; the decay is for options about facts that were never seen in options
# Of backbones that imitate mini-llama at first; `INHERITED_TRAINING` follows.
IMITATING_TRAINING = Training(steps=3000, polish=400, rows=32, width=128)  # 14 M tokens
BLOCKWISE_TRAINING = Training(steps=600, rows=32, width=128, begin=PHASES[0])  # 2.5 M tokens
# For a backbone whose facts take longer than its skills: the last phase's documents at a third of
# the rate.
CONSOLIDATION_TRAINING = Training(
    steps=1200, polish=200, rows=32, width=128, lr=1e-3, warmup=50, weight_decay=0.1,
    begin=PHASES[-1],
)  # 6 M tokens  # fmt: skip
# Of the control, which learns facts alone.
CONTROL_TRAINING = Training(steps=2000, polish=400, rows=32, width=128)  # 10 M tokens
ENCODER_TRAINING = Training(steps=2500, rows=64, width=40, lr=2e-3)
# A real RoBERTa has seen enough text to place paraphrases near each other; a small one needs this.
PARAPHRASE_TRAINING = Training(steps=400, rows=64, width=28, lr=1e-3, warmup=50)
TEMPERATURE = 0.05  # of the paraphrase loss, as in SimCSE


def causal_loss(model: PreTrainedModel, batch: tuple[Tensor, ...]) -> Tensor:
    """Weighted mean negative log-likelihood of the next token."""
    ids, weights, *starts = batch
    places = starts[0] + torch.arange(ids.shape[1], device=ids.device) if starts else None
    hidden = model.base_model(input_ids=ids, position_ids=places, use_cache=False).last_hidden_state
    return weighted_loss(model, hidden, ids, weights)


def weighted_loss(model: Any, hidden: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """The loss of final states [B, T, d]; the head runs where a weight [B, T] counts."""
    weights = weights[:, 1:]
    scored = weights > 0
    logits = model.lm_head(hidden[:, :-1][scored]).float()
    loss = F.cross_entropy(logits, ids[:, 1:][scored], reduction="none")
    return (loss * weights[scored]).sum() / weights.sum()


def masked_loss(model: RobertaForMaskedLM, batch: tuple[Tensor, ...]) -> Tensor:
    """Mean negative log-likelihood of the masked tokens; the head runs on these only."""
    ids, mask, labels = batch
    hidden = model.roberta(input_ids=ids, attention_mask=mask).last_hidden_state
    chosen = labels != IGNORED
    return F.cross_entropy(model.lm_head(hidden[chosen]).float(), labels[chosen])


def paraphrase_loss(model: RobertaForMaskedLM, batch: tuple[Tensor, ...]) -> Tensor:
    """InfoNCE between mean-pooled texts about one fact, the rest of the batch as negatives.

    It uses half of the width; the other half stays free for what a question does not contain, the
    answer.
    """
    left, right = (
        F.normalize(_pooled_half(model, ids, mask), dim=-1) for ids, mask in (batch[:2], batch[2:])
    )
    scores = left @ right.mT / TEMPERATURE
    own = torch.arange(len(scores), device=scores.device)
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.mT, own)) / 2


def _pooled_half(model: RobertaForMaskedLM, ids: Tensor, mask: Tensor) -> Tensor:
    hidden = model.roberta(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    half = hidden[..., : hidden.shape[-1] // 2]
    pooled: Tensor = (half * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return pooled


def train(
    model: PreTrainedModel,
    rows: CausalRows | MaskedRows | ParaphraseRows,
    loss_of: Loss,
    training: Training,
    checkpoint: Path,
    *,
    device: torch.device,
    hint: Hint | None = None,
) -> float:
    """Train in place; returns seconds spent (all runs together). Resumes from `checkpoint`."""
    module: nn.Module = model
    module.to(device).train()
    optimizer = _optimizer(model, training)
    step, seconds = _resume(model, optimizer, checkpoint, training)
    started, batches = time.perf_counter() - seconds, None
    with show_steps() as report:
        while step < training.total:
            if batches is None or step % CHUNK == 0:
                batches = tuple(t.to(device) for t in rows.chunk(step // CHUNK))
            part = slice((step % CHUNK) * training.rows, (step % CHUNK + 1) * training.rows)
            _set_rate(optimizer, training, step)
            with torch.autocast(device.type, torch.bfloat16):
                batch = tuple(t[part] for t in batches)
                loss = loss_of(model, batch)
                if hint is not None:
                    loss = loss + hint(batch[0], step)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), training.clip)
            optimizer.step()
            step += 1
            if step % 10 == 0:
                numbers = {"iteration": step, "iterations": training.total}
                report({**numbers, "running_loss": float(loss.detach())})
            if step % training.checkpoint == 0 or step == training.total:
                _save(model, optimizer, checkpoint, step, time.perf_counter() - started, training)
    model.eval()
    return time.perf_counter() - started


def _optimizer(model: nn.Module, training: Training) -> torch.optim.AdamW:
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() <= 1]
    groups = [
        {"params": matrices, "weight_decay": training.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.lr, betas=training.betas)


def _set_rate(optimizer: torch.optim.Optimizer, training: Training, step: int) -> None:
    """Linear warm-up, a cosine down to a hundredth, then the polish: a tenth, linearly to none."""
    factor = min(1.0, (step + 1) / training.warmup)
    if step < training.steps:
        factor *= max(0.5 * (1 + math.cos(math.pi * step / training.steps)), 0.01)
    else:
        factor *= 0.1 * (training.total - step) / training.polish
    for group in optimizer.param_groups:
        group["lr"] = training.lr * factor


def _save(
    model: nn.Module, optimizer: torch.optim.Optimizer, path: Path, step: int, seconds: float,
    training: Training,
) -> None:  # fmt: skip
    """Weights, Adam moments and the step in one safetensors file, replaced atomically."""
    tensors = {f"model.{k}": v.clone() for k, v in model.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        for name, value in moments.items():
            tensors[f"adam.{index}.{name}"] = torch.as_tensor(value).clone()
    meta = {"step": step, "seconds": seconds, "training": asdict(training)}
    write_tensors(path, tensors, {"state": json.dumps(meta)})


def _resume(
    model: nn.Module, optimizer: torch.optim.Optimizer, path: Path, training: Training
) -> tuple[int, float]:
    """Step and seconds of the checkpoint, whose tensors are loaded; (0, 0) without one."""
    if not path.exists():
        return 0, 0.0
    with safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()["state"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    wanted = json.loads(json.dumps(asdict(training)))
    if {**meta["training"], "checkpoint": training.checkpoint} != wanted:  # saved as often or not
        raise ValueError(
            f"{path} is the checkpoint of a training with other settings ({meta['training']}, "
            f"wanted {wanted}). Move it away to start again."
        )
    model.load_state_dict(
        {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    )
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("adam."):
            _, index, name = key.split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict(
        {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
    )
    return int(meta["step"]), float(meta["seconds"])


def rounded_to_half(model: PreTrainedModel) -> PreTrainedModel:
    """The model as it is shipped, every weight rounded to half precision."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
    return model


def encoder_of(model: RobertaForMaskedLM, world: World) -> RobertaModel:
    """The encoder with a pooler: N(0, 0.02) from the world's seed, as no pooler is pre-trained."""
    encoder = RobertaModel(model.config, add_pooling_layer=True)
    encoder.load_state_dict(model.roberta.state_dict(), strict=False)
    generator = torch.Generator().manual_seed(world.seed)
    pooler = dict(encoder.named_parameters())
    with torch.no_grad():
        pooler["pooler.dense.weight"].normal_(0.0, 0.02, generator=generator)
        pooler["pooler.dense.bias"].zero_()
    encoder.eval()
    return encoder

"""GRACE: a codebook of values beside one layer (Hartvigsen et al., "Aging with GRACE").

    h^l = V_i  if  d(h^(l-1), K_i) <= eps_i  for the nearest key K_i,  else  f^l(h^(l-1))       (1)

An edit updates the codebook (Algorithm 1) and trains the value that its query then retrieves.
Written after the public implementation Thartvigsen/GRACE; the `easyedit` mode after
zjunlp/EasyEdit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from editors.base import Editor, EditRequest, Hparams, Resources
from editors.parts.checks import check_above, check_fields
from editors.parts.fast_paths import FastPaths
from editors.parts.grace import (
    Codebook,
    Replacement,
    TargetLabel,
    final_states,
    put,
    replaced_positions,
)
from editors.parts.hooks import captured_input, captured_output, changed_output, watched_prefill
from editors.parts.language_model import LanguageModel, block_number
from editors.parts.needs import Needs, Setting
from editors.parts.retrieving import NOTHING_STORED, Explanation
from editors.parts.tokens import TokenBatch, batch_of, placed, text_of

# When two edits count as the same fact, and where a row is looked up. `default`: equal target ids;
# at its own last prompt token. `original`: equal means of the label tensor, prompt mask included.
# `easyedit`: that, but key i has the label of key N - 1 - i (it prepends labels while it appends
# keys), and every row is looked up where the last edited prompt ended.
GraceMode = Literal["default", "original", "easyedit"]
ValueInit = Literal["cold", "warm"]  # U(0, 1), or the layer's own output
Projection = Literal["mlp_in", "mlp_out"]
EpsUnit = Literal["absolute", "key_norm"]
# What an update of the codebook did; `rewrite` only happens in the default mode.
Event = Literal["init", "new", "split", "expand", "reuse", "rewrite"]

# Relative depth of the layer where none is named: EasyEdit's 27 of LLaMA-2-7B's 32.
DEPTH = 27 / 32
SPLIT_GAP = 1e-5  # by which a split leaves the older radius smaller (original)
MARGIN_ULPS = 16  # ours: well above the rounding differences of matrix products of other shapes
EDITS_AT_ONCE = 32  # single edits trained at once; ours


@dataclass(frozen=True, kw_only=True)
class GraceHparams(Hparams):
    """Defaults are EasyEdit's for LLaMA-2-7B."""

    layer: int | None  # None: at a relative depth of 27/32
    projection: Projection = "mlp_out"
    eps: float = 1.0  # first deferral radius of a key
    # `key_norm`: eps in units of the new key's norm (ours), for models whose activations may be of
    # any size, as those of miniature backbones are.
    eps_unit: EpsUnit = "absolute"
    n_iter: int = 50  # Adam steps on the value
    edit_lr: float = 1.0
    val_init: ValueInit = "cold"
    replacement: Replacement = "replace_last"
    mode: GraceMode = "default"

    def __post_init__(self) -> None:
        check_fields(self, GraceHparams)
        check_above("eps", self.eps, 0)
        check_above("edit_lr", self.edit_lr, 0)


@dataclass(frozen=True)
class GraceStep:
    """The update of the codebook by an edit, and the loss before each step of its value."""

    event: Event
    losses: Tensor  # [n_iter]


class GraceEditor(FastPaths, Editor[GraceHparams]):
    """Answers a query near a stored key with that key's trained value; the weights never change.

    The layer's input at the last prompt token is the query. In cached decoding the decision is
    taken when the prompt is read, once.
    """

    family = "RB"  # as the paper's tables group it
    label: ClassVar[str] = "GRACE"
    table_row = 8
    mark = ("#D55E00", "<")
    hparams_class = GraceHparams
    # zjunlp/EasyEdit hparams/GRACE/llama-7B.yaml had 100 iterations until commit 38c5c34 (13 June
    # 2024), 50 since; the authors of the paper took 100 in qizhou000/UniEdit.
    as_in_paper: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "": {"mode": "easyedit"},
        "llama-2-7b": {"n_iter": 100},
    }
    presets: ClassVar[Mapping[str, GraceHparams]] = {
        # zjunlp/EasyEdit hparams/GRACE/{llama-7b,gpt-j-6B,gpt2-xl}.yaml
        "llama-2-7b": GraceHparams(layer=27),
        "gpt-j-6b": GraceHparams(layer=25, n_iter=200),
        "gpt2-xl": GraceHparams(layer=35, projection="mlp_in", n_iter=200),
        # Ours: layer and radius that benchmarks/choose_hparams.py found on training edits.
        "mini-llama": GraceHparams(layer=3, eps=1.0, eps_unit="key_norm"),
        "mini-gptj": GraceHparams(layer=7, eps=1.0, eps_unit="key_norm"),
        "mini-gpt2": GraceHparams(layer=3, eps=1.0, eps_unit="key_norm"),
        "smollm2-135m": GraceHparams(layer=25),  # the default, among 30 blocks
        "default": GraceHparams(layer=None),
    }

    def __init__(self, lm: LanguageModel, hparams: GraceHparams, resources: Resources) -> None:
        super().__init__(lm, hparams, resources)
        row = lm.architecture
        path = row.mlp_out if hparams.projection == "mlp_out" else row.mlp_in[0]
        self.layer = block_number(hparams.layer, DEPTH, lm.n_layers)
        self.module = lm.module(path, self.layer)
        self.codebook = Codebook()
        self._dtype = torch.float64 if lm.dtype == torch.float64 else torch.float32
        self._generator = torch.Generator()
        self.reset()

    def reset(self) -> None:
        """Empty the codebook and restart the editor's own draws."""
        self.codebook.clear()
        self._generator.manual_seed(self.resources.seed)
        self._last_column = 0

    # ---- Editing --------------------------------------------------------------------------------

    def edit(self, requests: Sequence[EditRequest]) -> None:
        """Store the requests one after another."""
        for request in requests:
            pair = (request.prompt, request.target)
            self.edit_row(batch_of(self.lm.tokenizer, [pair], device=self.lm.device))

    def edit_row(self, batch: TokenBatch) -> GraceStep:
        """Store one tokenised row: update the codebook, then train the value that it retrieves.

        An original's radius may exclude its own query: then nothing is retrieved and nothing
        changes.
        """
        # By default without the target: in a row of another length the same prompt would be rounded
        # otherwise, and a second edit of it would not lie on the first.
        read = batch.prompts if self.hparams.mode == "default" else batch
        (query,), (output,) = self._passing(read, _ends(batch))  # [m], [d]
        label = TargetLabel(batch.prompt_lengths[0], batch.target_ids[0])
        initial = partial(self.initial_value, output)
        event = update_codebook(self.codebook, query, label, initial, self.hparams)
        self._last_column = batch.prompt_lengths[0] - 1
        index, hit = self.codebook.retrieve(query[None])
        value, losses = self._train(batch, self.codebook.values[index], hit)
        self.codebook.values[index] = value
        return GraceStep(event, losses[:, 0])

    def initial_value(self, output: Tensor) -> Tensor:
        """The value [d] of a new key; `output` is the layer's without it."""
        if self.hparams.val_init == "warm":
            return output
        return torch.rand(output.shape, generator=self._generator).to(output)

    @torch.enable_grad()
    def _train(self, batch: TokenBatch, values: Tensor, hits: Tensor) -> tuple[Tensor, Tensor]:
        """Fit the values [K, d] that the rows retrieve; they, and the losses [n_iter, K].

        Rows share forwards and nothing else: each has its own loss and its own steps of Adam. A row
        without a hit stays as it is.
        """
        values = values.clone().requires_grad_()
        starts = self.starts(batch)
        columns = _ends(batch) - starts

        def where(like: Tensor) -> Tensor:
            return replaced_positions(self.hparams.replacement, columns, like) & hits[:, None]

        final = final_states(self.lm, self.module, self.layer, batch, starts, where)
        optimizer = torch.optim.Adam([values], lr=self.hparams.edit_lr)
        trained = bool(hits.any())
        steps = []
        for _ in range(self.hparams.n_iter):
            losses = self.target_losses(batch, final(values), starts)  # [K]
            steps.append(losses.detach())
            if trained:
                values.grad = None
                losses.sum().backward()
                optimizer.step()
        return values.detach(), torch.stack(steps)

    def target_losses(self, batch: TokenBatch, states: Tensor, starts: Tensor) -> Tensor:
        """Mean negative log-likelihood [K] of each row's target tokens.

        `states` are the final ones [K, S, d] from the columns `starts` [K] on.
        """
        rows, columns = batch.scored_positions
        logits = self.lm.head(states[rows, columns - starts[rows]]).to(self._dtype)  # [N, V]
        tokens = functional.cross_entropy(logits, batch.labels, reduction="none")
        sums = tokens.new_zeros(len(batch)).index_add(0, rows, tokens)
        return sums / batch.target_counts

    # ---- Inference: equation 1 ------------------------------------------------------------------

    @contextmanager
    def steering(self, batch: TokenBatch) -> Iterator[None]:
        """Answer the rows that lie in a deferral radius from the codebook."""
        if not len(self.codebook):
            yield
            return
        kind, columns = self.hparams.replacement, self.query_columns(batch)
        index, hit = torch.empty(0), torch.empty(0)  # decided when the prompt is read
        with watched_prefill(self.lm.base) as prefill:

            def answer(inputs: Tensor, output: Tensor) -> Tensor:
                nonlocal index, hit
                if prefill.active:
                    rows = torch.arange(len(inputs), device=inputs.device)
                    index, hit = self.codebook.retrieve(inputs[rows, columns])
                elif kind != "replace_all":  # tokens after the prompt
                    return output
                where = replaced_positions(kind, columns, output[..., 0]) & hit[:, None]
                return put(output, self.codebook.values[index], where)

            with changed_output(self.module, answer):
                yield

    def query_columns(self, batch: TokenBatch) -> Tensor:
        """Column [B] at which each row is looked up."""
        ends = _ends(batch)
        if self.hparams.mode != "easyedit":
            return ends
        # Clipped to each row's own tokens, so that padding by longer neighbours changes nothing.
        lengths = placed(batch.lengths, self.lm.device)
        return torch.full_like(ends, self._last_column).minimum(lengths - 1)

    def explain(self, texts: Sequence[str]) -> list[Explanation]:
        """See the base class; entries are shown by their answers."""
        if not len(self.codebook):
            return [NOTHING_STORED] * len(texts)
        pairs = [(text, "") for text in texts]
        batch = batch_of(self.lm.tokenizer, pairs, device=self.lm.device)
        queries, _ = self._passing(batch, self.query_columns(batch))
        answers = [text_of(self.lm.tokenizer, label.target) for label in self.codebook.labels]
        return [self.codebook.explain(query[None], answers) for query in queries]

    @torch.no_grad()
    def _passing(self, batch: TokenBatch, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs [K, m] and outputs [K, d] of the layer, at a column of each row."""
        with (
            captured_output(self.module, stop=True) as output,
            captured_input(self.module) as taken,
        ):
            self.lm.hidden_states(batch)
        rows = range(len(batch))
        return (
            taken.value[rows, columns].to(self._dtype),
            output.value[rows, columns].to(self._dtype),
        )

    # ---- State, speed and size ------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Codebook, state of the draws, and the column of the last edited prompt's end."""
        return {
            **self.codebook.state_dict(),
            "generator": self._generator.get_state(),
            "last_column": torch.tensor(self._last_column),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.codebook.load_state_dict(state, device=self.lm.device)
        self._generator.set_state(state["generator"])
        self._last_column = int(state["last_column"])

    @property
    def steers_by_prompt(self) -> bool:
        """See the base class; where EasyEdit looks a row up depends on all of it."""
        return self.hparams.mode != "easyedit"

    def starts(self, batch: TokenBatch) -> Tensor:
        """The first column [K] of each row that its value changes: forwards begin there."""
        ends = _ends(batch)
        return ends if self.hparams.replacement == "replace_last" else torch.zeros_like(ends)

    @property
    def edits_at_once(self) -> int:
        return EDITS_AT_ONCE

    def prepare(self, requests: Sequence[EditRequest]) -> list[Callable[[], None]]:
        """See the base class; values of an empty codebook are trained together."""
        if len(requests) == 1 or len(self.codebook):
            return [partial(self.edit, [request]) for request in requests]
        pairs = [(request.prompt, request.target) for request in requests]
        batch = batch_of(self.lm.tokenizer, pairs, device=self.lm.device)
        queries, outputs = self._passing(batch, _ends(batch))
        before, first = self._generator.get_state(), []
        for output in outputs:  # each as if it were the only edit
            self._generator.set_state(before)
            first.append(self.initial_value(output))
        after = self._generator.get_state()
        self._generator.set_state(before)
        hits = torch.ones(len(batch), dtype=torch.bool, device=self.lm.device)
        values, _ = self._train(batch, torch.stack(first), hits)
        labels = map(TargetLabel, batch.prompt_lengths, batch.target_ids)
        return [
            partial(self._store, *row, after) for row in zip(queries, labels, values, strict=True)
        ]

    def _store(self, query: Tensor, label: TargetLabel, value: Tensor, drawn: Tensor) -> None:
        """Store an edit in an empty codebook, whose value was trained before."""
        update_codebook(self.codebook, query, label, lambda: value, self.hparams)
        self._last_column = label.prompt_length - 1
        self._generator.set_state(drawn)

    @classmethod
    def needs(cls, hparams: GraceHparams, on: Setting) -> Needs:
        """A key, a value and a radius an edit."""
        layer = block_number(hparams.layer, DEPTH, on.shape.layers)
        return Needs(
            per_edit=4.0 * (on.shape.hidden + on.shape.inner + 1),
            working=on.backward(EDITS_AT_ONCE if on.singles else 1, layer),
        )


def update_codebook(
    codebook: Codebook,
    query: Tensor,
    label: TargetLabel,
    initial: Callable[[], Tensor],
    hparams: GraceHparams,
) -> Event:
    """Algorithm 1: an entry for an edit whose query is [m]; its value is trained afterwards.

    `initial` gives the value of a new key and is only called for a new key.
    """
    relative = hparams.eps_unit == "key_norm"
    eps = hparams.eps * query.norm() if relative else query.new_tensor(hparams.eps)
    if not len(codebook):
        codebook.append(query, label, initial(), eps)
        return "init"
    (index,), (distance,) = codebook.nearest(query[None])  # i, d(h, K_i)
    radius = codebook.radii[index]
    if distance > eps + radius:  # beyond both balls
        codebook.append(query, label, initial(), eps)
        return "new"
    if _same_fact(codebook, int(index), label, hparams.mode):
        if distance <= radius:
            return "reuse"
        codebook.radii[index] = distance
        if hparams.mode == "default":
            # In a batch of another shape the same query differs by some units in the last place.
            codebook.radii[index] += query.norm() * (MARGIN_ULPS * torch.finfo(query.dtype).eps)
        return "expand"
    # Another fact is near: the distance is divided between the two balls. A query on top of the key
    # cannot be separated from it: the original gives the old key a negative radius and adds a new
    # key that is never the nearest, so both edits are lost. By default the newer edit takes over.
    older = distance / 2 - SPLIT_GAP
    if hparams.mode == "default" and older < 0:
        codebook.labels[int(index)] = label
        codebook.values[index] = initial()
        return "rewrite"
    codebook.append(query, label, initial(), distance / 2)
    codebook.radii[index] = older
    return "split"


def _same_fact(codebook: Codebook, index: int, label: TargetLabel, mode: GraceMode) -> bool:
    if mode == "default":
        return codebook.labels[index].target == label.target
    if mode == "easyedit":
        index = len(codebook) - 1 - index
    return codebook.labels[index].mean == label.mean


def _ends(batch: TokenBatch) -> Tensor:
    """Column [K] of the last token of each prompt."""
    return placed(batch.prompt_lengths, batch.input_ids.device) - 1

"""The parts of GRACE: its codebook, and where a value stands in for a layer's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from editors.parts.deltas import HALF
from editors.parts.growing_rows import GrowingRows
from editors.parts.hooks import captured_output, changed_output
from editors.parts.language_model import LanguageModel
from editors.parts.retrieving import Explanation, nearest
from editors.parts.suffixes import Suffixes
from editors.parts.tokens import TokenBatch

IGNORED = -100  # the label of prompt tokens (Hugging Face losses)


@dataclass(frozen=True)
class TargetLabel:
    """The label tensor of an edit: `prompt_length` ignored places, then the target."""

    prompt_length: int
    target: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean of the label tensor in float32, as the original compares it."""
        values = [IGNORED] * self.prompt_length + list(self.target)
        return float(torch.tensor(values, dtype=torch.float32).mean())


class Codebook:
    """N keys [m] with a radius, a value [d] and a label each, in order of insertion."""

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def keys(self) -> Tensor:
        """View [N, m]."""
        return self._keys.rows

    @property
    def values(self) -> Tensor:
        """View [N, d]."""
        return self._values.rows

    @property
    def radii(self) -> Tensor:
        """View [N]."""
        return self._radii.rows

    def clear(self) -> None:
        self._keys, self._values, self._radii = GrowingRows(), GrowingRows(), GrowingRows()
        self.labels: list[TargetLabel] = []

    def append(self, key: Tensor, label: TargetLabel, value: Tensor, radius: Tensor) -> None:
        self._keys.append(key)
        self._values.append(value)
        self._radii.append(radius)
        self.labels.append(label)

    def nearest(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Index [B] of the nearest key to each query [B, m], the oldest of several, and distance.

        Distances are summed without matrix products, whose rounding would hide small ones and
        depend on the number of queries.
        """
        distances = self._distances(queries)
        index = distances.argmin(dim=1)
        return index, distances.gather(1, index[:, None])[:, 0]

    def retrieve(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Index [B] of the nearest key, and whether [B] the query lies in its deferral radius."""
        index, distance = self.nearest(queries)
        return index, distance <= self.radii[index]

    def explain(self, query: Tensor, texts: Sequence[str]) -> Explanation:
        """The entries nearest to a query [1, m], shown as `texts`."""
        distances = self._distances(query)[0]
        index, hit = (int(result) for result in self.retrieve(query))
        return Explanation(
            measure="distance",
            candidates=nearest(distances, texts, largest=False),
            limit=float(self.radii[index]),
            limit_is="radius",
            used=index if hit else None,
        )

    def _distances(self, queries: Tensor) -> Tensor:
        """Euclidean distances [B, N] of queries [B, m] and keys."""
        return torch.cdist(
            queries.to(self.keys), self.keys, compute_mode="donot_use_mm_for_euclid_dist"
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all entries; nothing if there are none."""
        if not len(self):
            return {}
        return {
            "keys": self.keys.clone(),
            "values": self.values.clone(),
            "radii": self.radii.clone(),
            "prompt_lengths": torch.tensor([label.prompt_length for label in self.labels]),
            "target_lengths": torch.tensor([len(label.target) for label in self.labels]),
            "targets": torch.tensor([t for label in self.labels for t in label.target]),
        }

    def load_state_dict(self, state: Mapping[str, Tensor], *, device: torch.device) -> None:
        self.clear()
        if "keys" not in state:
            return
        self._keys.extend(state["keys"].to(device))
        self._values.extend(state["values"].to(device))
        self._radii.extend(state["radii"].to(device))
        targets = state["targets"].split(state["target_lengths"].tolist())
        self.labels = [
            TargetLabel(int(length), tuple(target.tolist()))
            for length, target in zip(state["prompt_lengths"], targets, strict=True)
        ]


# ---- Values in a forward -----------------------------------------------------------------------

# At the last prompt token, at all tokens, or at the prompt tokens before the last.
Replacement = Literal["replace_last", "replace_all", "replace_prompt"]


def replaced_positions(kind: Replacement, columns: Tensor, like: Tensor) -> Tensor:
    """Mask [B, T], of the shape of `like`, of the positions that `kind` replaces.

    `columns` [B] are those of the last prompt tokens.
    """
    steps = torch.arange(like.shape[1], device=like.device)
    if kind == "replace_all":
        return torch.ones(like.shape, dtype=torch.bool, device=like.device)
    if kind == "replace_prompt":
        return steps < columns[:, None]
    return steps == columns[:, None]


def put(output: Tensor, values: Tensor, where: Tensor) -> Tensor:
    """Outputs [B, T, d] with each row's value [B, d] at the masked positions [B, T]."""
    return torch.where(where[..., None], values[:, None].to(output.dtype), output)


def final_states(
    lm: LanguageModel,
    module: nn.Module,
    layer: int,
    batch: TokenBatch,
    starts: Tensor,
    where: Callable[[Tensor], Tensor],
) -> Callable[[Tensor], Tensor]:
    """How final states [K, S, d], from the columns `starts` on, follow from values [K, d].

    The output of a block's MLP goes into the sum that leaves the block, so that forwards begin
    after the block; other projections are replaced inside it, and so is an output of half
    precision, which cannot be separated from a rounded sum.

    The output of `module`, in block number `layer`, is replaced; `where` gives the mask [K, S] of
    the replaced positions for a tensor of that shape.
    """
    if module is lm.module(lm.architecture.mlp_out, layer) and lm.dtype not in HALF:
        with captured_output(module) as taken:
            suffixes = Suffixes(lm, batch, starts.tolist(), [layer + 1])
        output = suffixes.of(taken.value)  # [K, S, d]
        others = suffixes.entering[layer + 1] - output  # the other summands of the block
        mask = where(output[..., 0])
        return lambda values: suffixes.final(others + put(output, values, mask), layer + 1)
    suffixes = Suffixes(lm, batch, starts.tolist(), [layer])
    entering = suffixes.entering[layer]
    mask = where(entering[..., 0])

    def inside(values: Tensor) -> Tensor:
        with changed_output(module, lambda _, output: put(output, values, mask)):
            return suffixes.final(entering, layer)

    return inside

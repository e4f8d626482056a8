"""Which block of a model to edit."""

from __future__ import annotations

from editors.parts.language_model import LanguageModel


def block_number(layer: int | None, depth: float, n_layers: int) -> int:
    """The block at `layer`, or, where none is named, at the relative `depth` of the model.

    Raises:
        ValueError: the model has no such block.
    """
    number = int(depth * n_layers) if layer is None else layer
    if not 0 <= number < n_layers:
        raise ValueError(
            f"Layer {number} was asked for, but the model has blocks 0 to {n_layers - 1}."
        )
    return number


def parameter_names(lm: LanguageModel, path: str) -> tuple[str, ...]:
    """Full names of the parameters of the sub-module at `path`."""
    module = lm.model.get_submodule(path)
    return tuple(f"{path}.{name}" for name, _ in module.named_parameters())

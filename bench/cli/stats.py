"""The `stats` command: compute the key covariances that ROME-like editors read."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.cli import options
from bench.cli.arguments import add, backbone_of, config_of, loaded, whole
from bench.core.console import say
from bench.core.events import event_log
from bench.core.names import editor_keys
from bench.core.progress import show_documents
from bench.models.key_statistics import compute_covariances, read_facts
from bench.models.resources import corpus_for
from editors import registry

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from editors.parts.language_model import LanguageModel

EXAMPLES = """examples:
  python -m bench stats --backbone mini-llama
      the layers of the editors' presets, over the embedded world's text: seconds
  python -m bench stats --backbone path/to/model --layers 3,4,5 --corpus texts/ --documents 20000
      over one's own text; `run` takes the same --corpus and --documents
  python -m bench stats --preset paper --backbone gpt-j-6b
      100,000 articles of Wikipedia, as in the originals; hours on a GPU

If interrupted, the same command continues. The statistics are those of the unedited model.
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `stats`."""
    parser = subparsers.add_parser(
        "stats",
        help="compute the key covariances of a backbone",
        description="Compute the second moments of MLP keys that ROME-like editors read.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("statistics")
    add(what, options.PRESET, options.BACKBONE)
    what.add_argument(
        "--layers",
        metavar="N,M|all",
        help="block numbers (default: those of the editors' presets)",
    )
    inputs = parser.add_argument_group("text and hardware")
    add(inputs, *options.CORPUS)
    inputs.add_argument("--world-seed", type=whole(0), default=0, metavar="N")
    add(inputs, *options.HARDWARE, options.LOG_JSON)
    parser.set_defaults(func=stats)


def stats(args: argparse.Namespace) -> int:
    """Exit code 0 if the statistics of every layer are there."""
    config = config_of(args)
    backbone = backbone_of(config)
    corpus = corpus_for(backbone.name, config)
    lm = loaded(backbone, config)
    layers = _layers(args.layers, lm)
    with (
        event_log(args.log_json) as log,
        show_documents(corpus.documents, log) as progress,
    ):
        paths = compute_covariances(lm, corpus, layers, progress)
    for layer, path in paths.items():
        facts = read_facts(path)
        say(
            f"layer {layer}: {int(facts['documents']):,} documents, "
            f"{int(facts['tokens']):,} tokens: {path}"
        )
    return 0


def _layers(text: str | None, lm: LanguageModel) -> tuple[int, ...]:
    """The named block numbers, else those of all editors' presets.

    Raises:
        ValueError: no number, or no block of this model.
    """
    if text == "all":
        return tuple(range(lm.n_layers))
    if text is None:
        return _preset_layers(lm)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) < lm.n_layers for part in parts):
        raise ValueError(
            f"--layers takes block numbers from 0 to {lm.n_layers - 1} or 'all', got {text!r}."
        )
    return tuple(sorted({int(part) for part in parts}))


def _preset_layers(lm: LanguageModel) -> tuple[int, ...]:
    presets = [registry.hparams_for(key, lm.name) for key in editor_keys()]
    layers = {layer for preset in presets for layer in preset.covariance_layers(lm.n_layers)}
    if not layers:
        raise ValueError("No editor's preset needs a key covariance; name --layers.")
    return tuple(sorted(layers))

"""The `train` command: the weights that a trainable editor needs, with a report beside them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import options
from bench.cli.arguments import (
    add,
    assignment,
    backbone_name,
    backbone_of,
    config_of,
    loaded,
    names,
    whole,
)
from bench.core.config import RunConfig
from bench.core.console import say, warn
from bench.core.events import event_log
from bench.core.grids import RECIPE, Variant, variant
from bench.core.names import DATASETS
from bench.core.progress import SCORES
from bench.models.artefacts import Artefact, train_artefact, trainable, training_samples
from bench.models.backbones import EMBEDDED
from bench.models.resources import encoder_directory
from bench.world.store import assets_dir, data_dir, variants_dir
from editors import registry

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from editors.base import Hparams, TrainableEditor

PRESETS = ("embedded", "paper")
TRAIN_ON = ("mix", "each")

EXAMPLES = """examples:
  python -m bench train --editor recipe --backbone mini-llama
      one network for all three data sets of the embedded world
  python -m bench train --editor recipe --backbone mini-llama --world-seed 1
      the same for another embedded world, beside that world's models
  python -m bench train --variant cpt=5
      RECIPE with prompts of 5 tokens, beside the preset's weights, for Figure 3
  python -m bench train --editor recipe --preset paper --backbone gpt2-xl --datasets zsre \\
      --data-dir DATA --out artefacts
      the paper's setting: 150,000 iterations of 8, learning rate 1e-5
"""


def add_commands(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `train`."""
    parser = subparsers.add_parser(
        "train",
        help="train an editor's own weights",
        description="Train an editor's own weights on the training split and write an artefact. "
        "An interrupted training continues with the same command.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--editor", metavar="NAME")
    what.add_argument(
        "--variant",
        metavar="NAME",
        help="of RECIPE, in a folder of its own: cpt=N for prompts of N tokens, no-ks for the "
        "ablation without the knowledge sentinel",
    )
    parser.add_argument("--backbone", metavar="NAME|PATH", help="default: mini-llama (embedded)")
    parser.add_argument("--preset", choices=PRESETS, default="embedded")
    parser.add_argument(
        "--datasets",
        type=names,
        metavar="A,B",
        default=DATASETS,
        help=f"default: {','.join(DATASETS)}",
    )
    parser.add_argument(
        "--train-on",
        choices=TRAIN_ON,
        help="one artefact on all data sets (mix; the embedded default) or one for each (each; "
        "the default of the paper preset)",
    )
    _add_training(parser)
    _add_places(parser)
    parser.set_defaults(func=main)


def _add_training(parser: argparse.ArgumentParser) -> None:
    training = parser.add_argument_group("training")
    training.add_argument(
        "--iterations", type=whole(1), metavar="N", help="instead of the preset's"
    )
    training.add_argument(
        "--hparam",
        dest="changes",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another hyper-parameter than the preset's; may be repeated",
    )
    training.add_argument("--seed", type=whole(0), default=0, metavar="N")
    training.add_argument(
        "--overwrite", action="store_true", help="train again, from the beginning"
    )


def _add_places(parser: argparse.ArgumentParser) -> None:
    places = parser.add_argument_group("inputs, hardware, output")
    places.add_argument("--world-seed", type=whole(0), default=0, metavar="N")
    places.add_argument("--data-dir", type=Path, metavar="DIR", help="real data files")
    places.add_argument(
        "--encoder",
        metavar="NAME|DIR",
        help="sentence encoder: a name or a local directory (default: the embedded one, "
        "roberta-base in the paper preset)",
    )
    add(places, *options.HARDWARE, options.LOG_JSON)
    places.add_argument("--out", type=Path, metavar="DIR", help="where the artefact goes")


def main(args: argparse.Namespace) -> int:
    """Train; exit code 0 if every artefact is there."""
    from editors.parts.artefact import artefact_path

    config, chosen = config_of(args), None if args.variant is None else variant(args.variant)
    key = registry.resolve(args.editor if chosen is None else RECIPE)
    editor = trainable(key)
    changes = {**_trained_changes(editor, chosen), **dict(map(assignment, args.changes))}
    if args.iterations is not None:
        changes["iterations"] = args.iterations
    preset = _preset(key, config)
    hparams = type(preset).from_dict({**preset.to_dict(), **changes})
    directory = config.out or _default_out(config, chosen)
    backbone = backbone_of(config)
    world_data = config.data_dir or data_dir(config.world_seed)
    samples = training_samples(config.datasets or DATASETS, world_data)
    encoder = _encoder(config) if editor.uses_encoder else None
    lm = loaded(backbone, config)
    each = (args.train_on or ("each" if config.preset == "paper" else "mix")) == "each"
    for keys in [[name] for name in samples] if each else [list(samples)]:
        path = artefact_path(directory, key, lm.name, keys)
        _remove_earlier(path, overwrite=config.overwrite)
        with event_log(args.log_json) as log:
            artefact = train_artefact(
                key, lm, {name: samples[name] for name in keys}, hparams,
                encoder=encoder, path=path, seed=args.seed, log=log,
            )  # fmt: skip
        _say_result(artefact)
    return 0


def _remove_earlier(path: Path, *, overwrite: bool) -> None:
    """Remove an earlier training with `--overwrite`."""
    from editors.parts.artefact import checkpoint_path

    if overwrite:
        for old in (path, checkpoint_path(path)):
            old.unlink(missing_ok=True)
    elif path.exists():
        warn(f"{path} is there already; --overwrite trains it again.")


def _say_result(artefact: Artefact) -> None:
    step = artefact.header["selected_iteration"]
    say(f"{artefact.path}: iteration {step:,}, {artefact.seconds / 60:.1f} minutes")
    for name, scores in artefact.header["validation"].items():
        values = ", ".join(f"{key} {100 * scores[key]:.1f}" for key in SCORES)
        say(f"  {name}, {scores['edits']} held-out training edits {_how(scores)}: {values}")


def _how(scores: Mapping[str, Any]) -> str:
    together = scores.get("together", scores["edits"])
    return "at once" if together == scores["edits"] else f"{together} at a time"


def _trained_changes(
    editor: type[TrainableEditor[Any]], chosen: Variant | None
) -> Mapping[str, Any]:
    """The hyper-parameters of training that a variant changes.

    Raises:
        ValueError: it changes none that weights depend on.
    """
    if chosen is None:
        return {}
    if editor.edit_time.issuperset(chosen.hparams):
        raise ValueError(
            f"The variant {chosen.key!r} has no weights of its own: "
            f"it uses those of {editor.label}."
        )
    return chosen.hparams


def _preset(key: str, config: RunConfig) -> Hparams:
    presets = registry.editor_class(key).presets
    if config.preset == "paper" and "paper" in presets:
        return presets["paper"]
    return registry.hparams_for(key, backbone_name(config))


def _encoder(config: RunConfig) -> Path:
    """Directory of the sentence encoder that training starts from."""
    from editors.parts.encoder import check_files

    hub = config.preset == "paper"
    directory = encoder_directory(config.encoder, hub=hub, world_seed=config.world_seed)
    check_files(directory)  # refused before a large backbone is loaded
    return directory


def _default_out(config: RunConfig, chosen: Variant | None) -> Path:
    """Beside the models of the world, or in the working directory for other backbones.

    Variants have a folder each, those of the embedded world in the cache: they are not shipped.
    """
    backbone = backbone_name(config)
    embedded = backbone in EMBEDDED and config.data_dir is None
    if chosen is not None:
        return (variants_dir(config.world_seed) if embedded else Path("artefacts")) / chosen.key
    return assets_dir(config.world_seed, backbone) / "artefacts" if embedded else Path("artefacts")
